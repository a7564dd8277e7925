"""How many examples a training goes over, how often, and how many pairs it holds out.

Where the program gives no epochs, they follow from the pairs: Adam needs about 100 steps, and a
step takes a batch of examples. Of SmolLM2 at layer 20, END, and 12 pairs, 10 steps give an fldd
of 0.61, 30 steps 1.24, 100 steps 1.30, and so do 400 (in the MLP 0.05, 0.41, 0.59, 0.60).
"""

from __future__ import annotations

from causaldsl.check.pairs import PairSet
from causaldsl.vocabulary.base import EPOCHS, FEWEST, HELD_OUT, STEPS, Training


def held_out_of(pairs: PairSet, training: Training) -> int:
    """How many pairs of prompts a training holds out."""
    count = len(pairs.identities)
    return round(HELD_OUT * count) if training.epochs is None and count >= FEWEST else 0


def epochs_of(pairs: PairSet, training: Training) -> int:
    """How many epochs a training takes at most."""
    if training.epochs is not None:
        return training.epochs
    share = 1 - held_out_of(pairs, training) / len(pairs.identities)
    batches = -(-round(share * examples_of(pairs, training.no_change)) // training.batch)
    return max(EPOCHS, -(-STEPS // max(1, batches)))


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
