"""Activations of clean runs, of any site: one in the model, or a virtual one beside it."""

from __future__ import annotations

from torch import Tensor

from causaldsl.engine.dictionaries.edits import features_of
from causaldsl.engine.random_mlp import random_mlp
from causaldsl.engine.session import Session
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.virtual import read_for


def activations(session: Session, clean: str, backend: str, at: SiteAt) -> list[Tensor]:
    """The activation of a site in the clean run ``clean``, (k, d) for each pair in order."""
    if not at.site.is_virtual:
        return session.recorded(clean, backend, at)
    inputs = session.recorded(clean, backend, read_for(at)[0])
    if at.site.dictionary is not None:
        return features_of(session, at.site, inputs)
    mlp = random_mlp(session, at.site)
    return [mlp.hidden(x) for x in inputs]
