"""How many examples a training goes over."""

from __future__ import annotations

from causaldsl.check.pairs import PairSet


def examples_of(pairs: PairSet, no_change: float) -> int:
    """How many examples DAS trains on: the pairs, and no-change examples where names allow it."""
    by_class: dict[str, list[set[int]]] = {}
    for pair in pairs.pairs:
        for prompt in (pair.base, pair.source):
            if prompt.cls:
                by_class.setdefault(prompt.cls, []).append({pair.answer, pair.foil})
    able = sum(
        any(names.isdisjoint((pair.answer, pair.foil)) for names in by_class.get(cls, ()))
        for pair, cls in ((pair, pair.base.cls) for pair in pairs.pairs)
    )
    return len(pairs) + round(no_change * able)
