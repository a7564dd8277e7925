"""What an audit would have said on part of its pairs, or with other constants."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.engine.audit.evidence import Audited
from causaldsl.engine.audit.rule import Bounds, decide

_BY = 0.1
"""By how much the thresholds of shares are moved."""


def stability(audited: Audited, verdict: str) -> dict[str, str]:
    """The verdict under each change, by what was changed."""
    facts, bounds = audited.facts, Bounds()
    found = {}
    for name, by in (("thresholds stricter", _BY), ("thresholds wider", -_BY)):
        moved = replace(bounds, low=bounds.low - by, high=bounds.high + by, most=bounds.most + by)
        found[f"{name} by {_BY:g}"] = decide(facts, moved).verdict
    for name, part in (("99% of the variance alone", facts.first), ("99.9% alone", facts.second)):
        found[name] = decide(replace(facts, first=part, second=part)).verdict
    if audited.text and audited.labels is not None:
        first, second = audited.pairs.classes
        for name, sign in ((f"{second} into {first}", 1), (f"{first} into {second}", -1)):
            rows = (audited.labels == sign).nonzero()[:, 0]
            if len(rows) >= bounds.few:
                found[f"{name} alone"] = decide(audited.only(rows).facts).verdict
    return found
