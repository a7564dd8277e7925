"""What an audit would have said with other constants, pairs or seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from causaldsl.engine.audit.evidence import Audited
from causaldsl.engine.audit.rule import Bounds, decide

_BY = 0.1
"""By how much the thresholds of shares are moved."""


def stability(audited: Audited) -> dict[str, str]:
    """The verdict under each change, by what was changed."""
    facts, bounds = audited.facts, Bounds()
    found = {}
    for name, by in (("thresholds stricter", _BY), ("thresholds wider", -_BY)):
        moved = replace(bounds, low=bounds.low - by, high=bounds.high + by, most=bounds.most + by)
        found[f"{name} by {_BY:g}"] = decide(facts, moved).verdict
    for name, part in (("99% of the variance alone", facts.first), ("99.9% alone", facts.second)):
        found[name] = decide(replace(facts, first=part, second=part)).verdict
    for name, chosen in _groups(audited):
        some = audited.only(chosen.nonzero()[:, 0])
        if some.bootstrap.units.count >= bounds.few:
            found[f"{name} alone"] = decide(some.facts).verdict
    for seed in audited.seeds:
        found[f"trained with seed {seed}"] = decide(audited.trained_with(seed).facts).verdict
    return found


def _groups(audited: Audited) -> Iterator[tuple[str, Tensor]]:
    """Pairs of one direction, and from one template: which they are, (n,)."""
    if audited.text and audited.labels is not None:
        first, second = audited.pairs.classes
        for name, sign in ((f"{second} into {first}", 1), (f"{first} into {second}", -1)):
            yield name, audited.labels == sign
    templates = [pair.template for pair in audited.pairs.pairs]
    if audited.pairs.units.from_templates > 1:
        for text in dict.fromkeys(templates):
            yield f'"{text}"', torch.tensor([text == one for one in templates])
