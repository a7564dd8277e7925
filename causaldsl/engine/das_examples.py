"""What distributed alignment search is trained on.

Every pair (base b, source s) is one example: patched along the basis with s, the model should give
the counterfactual answer. Every no-change example patches b with a prompt of the same class with
unrelated names, so that the answer should stay b's: a direction that carries the names themselves
is pulled back. (Patching b with itself would teach nothing.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.engine.reads import activations
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.session import Session, stack
from causaldsl.graph.operations import Operation
from causaldsl.plan.examples import held_out_of
from causaldsl.vocabulary.base import Training
from causaldsl.vocabulary.learned import Das


@dataclass(frozen=True)
class Examples:
    """Training examples: base row, its value and the one to patch in, token wanted, unwanted.

    Values are (n, k, d); ``held`` (n,) says which are not trained on, but tell when to stop.
    """

    rows: Tensor
    before: Tensor
    values: Tensor
    wanted: Tensor
    unwanted: Tensor
    held: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def examples_for(session: Session, operation: Operation, bases: PromptRuns) -> Examples:
    """Of one training: first every pair, then its no-change examples."""
    word = operation.word
    assert isinstance(word, Das)
    pairs = bases.pairs.pairs
    base_values, source_values = (
        stack(activations(session, operation.input(s), bases.backend.name, operation.at_site))
        for s in ("base", "source")
    )
    rows = list(range(len(pairs)))
    values = [source_values]
    wanted = [pair.counterfactual for pair in pairs]
    unwanted = [pair.answer if pair.counterfactual != pair.answer else pair.foil for pair in pairs]
    held = _held_out(session, bases.pairs, declared_for(session, operation))
    unchanged = _no_change(session, bases, word, held)
    if unchanged:
        rows += [row for row, _, _ in unchanged]
        values.append(
            torch.stack(
                [(base_values if own else source_values)[other] for _, other, own in unchanged]
            )
        )
        wanted += [pairs[row].answer for row, _, _ in unchanged]
        unwanted += [pairs[row].foil for row, _, _ in unchanged]
    return Examples(
        torch.tensor(rows),
        base_values[rows],
        torch.cat(values),
        torch.tensor(wanted),
        torch.tensor(unwanted),
        held[rows],
    )


def declared_for(session: Session, operation: Operation) -> Training:
    """How the word says that it is trained."""
    width = operation.at_site.site.width(session.loaded.spec.shapes)
    found = operation.word.training(width)
    assert found is not None
    return found


def _held_out(session: Session, pairs: PairSet, training: Training) -> Tensor:
    """Which pairs (n,) are not trained on: a pair goes with its mirror and its repeats."""
    identities = sorted(pairs.identities)
    generator = session.generator(0, "das held out")
    order = torch.randperm(len(identities), generator=generator).tolist()
    chosen = {identities[i] for i in order[: held_out_of(pairs, training)]}
    return torch.tensor([pair.identity in chosen for pair in pairs.pairs])


def _no_change(
    session: Session, bases: PromptRuns, word: Das, held: Tensor
) -> list[tuple[int, int, bool]]:
    """Another pair's prompt of the same class with unrelated names, for a share of the bases.

    No prompt of a ``held`` (n,) pair is patched into one that is trained on.

    Each is (base row, other pair's row, whether that is the other pair's base). Of pairs without
    classes there are none.
    """
    pairs = bases.pairs.pairs
    by_class: dict[str, list[tuple[int, bool]]] = {}
    for row, pair in enumerate(pairs):
        for own, prompt in ((True, pair.base), (False, pair.source)):
            if prompt.cls:
                by_class.setdefault(prompt.cls, []).append((row, own))
    names = torch.tensor([(pair.answer, pair.foil) for pair in pairs])
    rows_of = {cls: torch.tensor([row for row, _ in own]) for cls, own in by_class.items()}
    generator = session.generator(word.seed, "das no change")

    def unrelated(row: int) -> Tensor:
        """Places, among the prompts of its base's class, of those with other names."""
        cls = pairs[row].base.cls
        if cls not in by_class:
            return torch.empty(0)
        others = ~torch.isin(names[rows_of[cls]], names[row]).any(1)
        return (others & (held[row] | ~held[rows_of[cls]])).nonzero()[:, 0]

    order = torch.randperm(len(pairs), generator=generator).tolist()
    able = [row for row in order if len(unrelated(row))]
    found = []
    for row in sorted(able[: round(word.no_change * len(able))]):
        others = unrelated(row)
        pick = int(torch.randint(len(others), (1,), generator=generator))
        found.append((row, *by_class[pairs[row].base.cls][int(others[pick])]))
    return found
