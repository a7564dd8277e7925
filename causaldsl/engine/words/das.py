"""Distributed alignment search on pairs: which prompts are trained on, and the loss of a batch.

Every pair (base b, source s) is one example: patched along the basis with s, the model should give
the counterfactual answer. Every no-change example patches b with a prompt of the same class with
unrelated names, so that the answer should stay b's: a direction that carries the names themselves
is pulled back. (Patching b with itself would teach nothing.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from causaldsl.engine.das import DasOptions, cross_entropy, fit
from causaldsl.engine.edits import Edit
from causaldsl.engine.random_mlp import activations, write
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.subspaces import Das

MakeEdit = Callable[[Tensor, Tensor, Tensor], Edit]


@dataclass(frozen=True)
class Examples:
    """Training examples: base row, its value and the one to patch in, token wanted, unwanted.

    Values are (n, k, d).
    """

    rows: Tensor
    before: Tensor
    values: Tensor
    wanted: Tensor
    unwanted: Tensor

    def __len__(self) -> int:
        return len(self.rows)


@evaluates(Das)
def das(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, Das)
    backend = session.plan.backends[operation.key]
    bases = session.runs(operation.given("base"), backend)
    sources = session.runs(operation.given("source"), backend)
    seed = word.seed + session.settings.seed
    examples = _examples(session, operation, bases, sources, word)
    edit = _edit(session, operation, examples)
    options = DasOptions(
        dim=word.dim,
        lr=word.lr,
        epochs=word.epochs,
        batch=word.batch,
        seed=seed,
        objective=word.objective,
        decay=word.decay,
    )
    name = session.graph.name_of(operation.key) or "das"

    def batches(epoch: int) -> Iterator[Tensor]:
        session.progress(f"training {name}", epoch, word.epochs)
        order = torch.randperm(
            len(examples), generator=session.generator(word.seed, "das order", str(epoch))
        )
        yield from order.split(word.batch)

    def loss(basis: Tensor, chosen: Tensor) -> Tensor:
        return _loss(bases, edited(operation.at_site), examples, edit, basis, chosen, word)

    values = examples.values
    width, chosen = values.shape[-1], _neurons(session, operation, word, values.shape[-1])

    def spread(basis: Tensor) -> Tensor:
        """The basis in the whole space, of one that has the chosen neurons only."""
        return (
            basis
            if chosen is None
            else basis.new_zeros(width, word.dim).index_copy(0, chosen, basis)
        )

    count = width if chosen is None else len(chosen)
    if count == word.dim:
        # One subspace fits, so there is nothing to learn; its loss is taken all the same.
        options = replace(options, epochs=1)
    found = fit(
        count,
        options,
        batches,
        lambda basis, batch: loss(spread(basis), batch),
        dtype=values.dtype,
        device=values.device,
    )
    session.training[operation.key] = list(found.losses)
    return SubspaceValue(spread(found.basis.detach()).cpu().double())


def _neurons(session: Session, operation: Operation, word: Das, width: int) -> Tensor | None:
    """Indices of the neurons that may be used, in order; None for all of them."""
    if word.neurons is None:
        return None
    if isinstance(word.neurons, tuple):
        chosen = torch.tensor(word.neurons)
    else:
        seed = word.seed if word.neurons_seed is None else word.neurons_seed
        generator = session.generator(seed, "das neurons", str(operation.at_site.site))
        chosen = torch.randperm(width, generator=generator)[: word.neurons]
    return chosen.sort().values.to(session.loaded.device)


def _examples(
    session: Session, operation: Operation, bases: PromptRuns, sources: PromptRuns, word: Das
) -> Examples:
    pairs = bases.pairs.pairs
    base_values, source_values = (
        stack(activations(session, operation.given(s) or "", bases.backend.name, operation.at_site))
        for s in ("base", "source")
    )
    rows = list(range(len(pairs)))
    values = [source_values]
    wanted = [pair.counterfactual for pair in pairs]
    unwanted = [pair.answer if pair.counterfactual != pair.answer else pair.foil for pair in pairs]
    unchanged = _no_change(session, bases, sources, word)
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
    )


def _edit(session: Session, operation: Operation, examples: Examples) -> MakeEdit:
    """From examples, positions and a basis to the patch of these examples along the basis."""
    at, base = operation.at_site, operation.given("base")
    assert base is not None
    if not at.site.is_virtual:
        return lambda picked, positions, basis: Edit(
            at.site, positions, examples.values[picked], basis
        )
    write_to = write(session, base, session.plan.backends[operation.key], at)
    return lambda picked, positions, basis: write_to(
        examples.before[picked], examples.values[picked], positions, basis
    )


def _no_change(
    session: Session, bases: PromptRuns, sources: PromptRuns, word: Das
) -> list[tuple[int, int, bool]]:
    """For a share of the bases: another pair's prompt of the same class with unrelated names.

    Each is (base row, other pair's row, whether that is the other pair's base). Pairs that were not
    made from patterns say nothing of classes, so there are none.
    """
    pairs = bases.pairs.pairs
    by_shape: dict[str, list[tuple[int, bool]]] = {}
    for row, pair in enumerate(pairs):
        for own, prompt in ((True, pair.base), (False, pair.source)):
            if prompt.pattern:
                by_shape.setdefault(prompt.shape, []).append((row, own))
    generator = session.generator(word.seed, "das no change")
    chosen = torch.randperm(len(pairs), generator=generator)[: round(word.no_change * len(pairs))]
    found = []
    for row in sorted(chosen.tolist()):
        names = {pairs[row].answer, pairs[row].foil}
        others = [
            (other, own)
            for other, own in by_shape.get(pairs[row].base.shape, ())
            if not names & {pairs[other].answer, pairs[other].foil}
        ]
        if others:
            pick = int(torch.randint(len(others), (1,), generator=generator))
            found.append((row, *others[pick]))
    return found


def _loss(
    bases: PromptRuns,
    at: SiteAt,
    examples: Examples,
    edit: MakeEdit,
    basis: Tensor,
    chosen: Tensor,
    word: Das,
) -> Tensor:
    """Mean loss of a batch of examples; prompts of one length run together."""
    total = basis.new_zeros(())
    rows = examples.rows[chosen]
    for number, group in enumerate(bases.groups):
        mine = (bases.group_of[rows] == number).nonzero()[:, 0]
        if len(mine) == 0:
            continue
        picked, members = chosen[mine], bases.place_in[rows[mine]]
        patch = edit(picked, group.positions[at][members], basis)
        wanted, unwanted = examples.wanted[picked], examples.unwanted[picked]
        if word.objective == "cross_entropy":
            logits = bases.backend.logits(group.clean, [patch], members, None)
            total = total + len(mine) * cross_entropy(logits, wanted.to(logits.device))
        else:
            both = torch.stack([wanted, unwanted], 1).to(bases.device)
            logits = bases.backend.logits(group.clean, [patch], members, both)
            total = total - (logits[:, 0] - logits[:, 1]).sum()
    return total / len(chosen)
