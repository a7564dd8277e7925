"""Activations that interventions take from elsewhere: what the program writes behind `from`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.types import SiteType


class Seen(Word):
    """The activations of a site in a run, clean or changed: (k, d) for each pair."""

    word = "seen"
    runs = "reads"
    sides = ()
    large = True
    late = True
    alone = True

    def result(self, types: Mapping[str, Any]) -> SiteType:
        site: SiteType = types["site"]
        return site


class MeanSeen(Seen):
    """The mean of a site over the prompts of a clean run, (k, d)."""

    word = "mean_seen"
    large = False
    late = False
    alone = False
