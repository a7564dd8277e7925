"""Distributed alignment search on pairs: trainings side by side, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.engine.backend import Logits, Losses, Pass
from causaldsl.engine.bases import DasOptions
from causaldsl.engine.das import DasFit, Learner, fit_together
from causaldsl.engine.das_examples import Examples, declared_for, examples_for
from causaldsl.engine.dictionaries.edits import FeatureEdit, columns_of
from causaldsl.engine.dictionaries.load import code_of
from causaldsl.engine.edits import Edit, along
from causaldsl.engine.random_mlp import write
from causaldsl.engine.registry import evaluates_together
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.transfer import placed
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.plan.examples import epochs_of, examples_of
from causaldsl.plan.names import trainers
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.learned import Das
from causaldsl.vocabulary.masks import Mask

MakeEdit = Callable[[Tensor, Tensor, Tensor], Edit]


@evaluates_together(Mask)
@evaluates_together(Das)
def das(session: Session, operations: list[Operation]) -> list[SubspaceValue]:
    """Subspaces that are trained on the same pairs, side by side."""
    first = operations[0]
    backend = session.plan.backends[first.key]
    bases = session.runs(first.input("base"), backend)
    trainings = [_training(session, operation, bases) for operation in operations]
    names = ", ".join(session.graph.name_of(operation.key) or "das" for operation in operations)
    epochs, batch = trainings[0].options.epochs, trainings[0].word.batch

    def learner(training: Training) -> Learner[Tensor]:
        held = training.examples.held
        taught = (~held).nonzero()[:, 0]

        def batches(epoch: int) -> Iterable[Tensor]:
            if training is trainings[0]:
                session.progress(f"training {names}", epoch, epochs)
            generator = session.generator(training.word.seed, "das order", str(epoch))
            return taught[torch.randperm(len(taught), generator=generator)].split(batch)

        held_out = held.nonzero()[:, 0].split(batch) if held.any() else ()
        return Learner(training.width, training.options, batches, held_out)

    def losses(step: Sequence[tuple[int, Tensor, Tensor]]) -> Tensor:
        return _losses(bases, [_Step(trainings[i], basis, chosen) for i, basis, chosen in step])

    values = trainings[0].examples.values
    steps = epochs * -(-int((~trainings[0].examples.held).sum()) // batch)
    with bases.backend.training(steps):
        found = fit_together(
            [learner(training) for training in trainings],
            losses,
            dtype=values.dtype,
            device=values.device,
            in_pieces=session.retrying(backend).in_pieces,
            checkpoints=session.checkpoints([operation.key for operation in operations]),
        )
    for operation, fitted in zip(operations, found, strict=True):
        session.training[operation.key] = fitted
        _note(session, operation, bases.pairs, fitted)
    return [
        SubspaceValue(training.spread(_columns(fitted.basis.detach())).cpu().double())
        for training, fitted in zip(trainings, found, strict=True)
    ]


def _columns(basis: Tensor) -> Tensor:
    """The basis (d, k); of the gates (d,) of a mask, the coordinates that are open."""
    if basis.dim() == 2:
        return basis
    chosen = basis.nonzero()[:, 0]
    columns = basis.new_zeros(len(basis), len(chosen))
    columns[chosen, torch.arange(len(chosen), device=basis.device)] = 1
    return columns


@dataclass(frozen=True, eq=False)
class Training:
    """One subspace to learn: where, on what examples, and how. ``neurons`` are those it may use."""

    word: Das
    at: SiteAt
    examples: Examples
    edit: MakeEdit
    options: DasOptions
    neurons: Tensor | None

    @property
    def width(self) -> int:
        """The width of the space that the subspace is looked for in."""
        return self.examples.values.shape[-1] if self.neurons is None else len(self.neurons)

    def spread(self, basis: Tensor) -> Tensor:
        """The basis in the whole space, of one that has the chosen neurons only."""
        if self.neurons is None:
            return basis
        whole = basis.new_zeros(self.examples.values.shape[-1], basis.shape[1])
        return whole.index_copy(0, self.neurons, basis)


def _training(session: Session, operation: Operation, bases: PromptRuns) -> Training:
    word = operation.word
    assert isinstance(word, Das)
    examples = examples_for(session, operation, bases)
    mask = isinstance(word, Mask)
    options = DasOptions(
        dim=word.largest(examples.values.shape[-1]),
        lr=word.lr,
        epochs=epochs_of(bases.pairs, declared_for(session, operation)),
        seed=word.seed + session.settings.seed,
        decay=word.decay,
        boundless=word.dim == "learned" and not mask,
        mask=mask,
        cost=1.0 if word.cost is None else word.cost,
    )
    neurons = _neurons(session, operation, word, examples.values.shape[-1])
    edit = _edit(session, operation, examples)
    training = Training(word, edited(operation.at_site), examples, edit, options, neurons)
    if training.width == word.dim:
        # One subspace fits, so there is nothing to learn; its loss is taken all the same.
        everything = replace(examples, held=torch.zeros_like(examples.held))
        return replace(training, options=replace(options, epochs=1), examples=everything)
    return training


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


def _note(session: Session, operation: Operation, pairs: PairSet, fitted: DasFit) -> None:
    """What a reader should know of a training that could not be as it is meant to be."""
    word = operation.word
    assert isinstance(word, Das)
    named = session.graph.name_of(operation.key)
    audit = None if named else trainers(session.graph).get(operation.key)
    name = f"a subspace that {audit} trains" if audit else named or "das"
    if word.no_change and not pairs.classes:
        session.note(
            f"{name} was trained without no-change examples: {pairs.name} says no classes of its "
            "prompts"
        )
    elif word.no_change and examples_of(pairs, word.no_change) == len(pairs):
        session.note(
            f"{name} was trained without no-change examples: no two prompts of a class in "
            f"{pairs.name} have unrelated answers"
        )
    if len(fitted.losses) > 1 and word.epochs is None and not fitted.held_out:
        session.note(
            f"{name} has too few pairs to hold some out: it was trained for all "
            f"{len(fitted.losses)} epochs"
        )
    if fitted.still_falling is not None:
        _note_falling(session, name, fitted, by_audit=audit is not None)


def _note_falling(session: Session, name: str, fitted: DasFit, by_audit: bool) -> None:
    """That training may have ended too soon. An audit's own trainings are told of together."""
    assert fitted.still_falling is not None
    before, after = (f"{loss:.4g}" for loss in fitted.still_falling)
    if before == after:
        return
    said = f"{name}: the loss was still falling when training ended"
    if not by_audit:
        epochs = len(fitted.losses)
        said += f", from {before} to {after} in the last third of {epochs} epochs; "
        said += f"`epochs: {2 * epochs}` trains for longer"
    session.note(said)


def _edit(session: Session, operation: Operation, examples: Examples) -> MakeEdit:
    """A function of examples, positions and a basis: the patch of the examples along the basis."""
    at = operation.at_site
    if not at.site.is_virtual:
        return lambda picked, positions, basis: Edit(
            at.site, positions, _picked(examples.values, picked), basis
        )
    if at.site.dictionary is not None:
        return _feature_edit(session, operation, examples)
    backend = session.plan.backends[operation.key]
    write_to = write(session, operation.input("base"), backend, at)
    return lambda picked, positions, basis: write_to(
        _picked(examples.before, picked), _picked(examples.values, picked), positions, basis
    )


def _feature_edit(session: Session, operation: Operation, examples: Examples) -> MakeEdit:
    """The patch of features; gradients flow to the basis through what these write.

    What a transcoder writes follows from what its MLP reads, and not from what it writes to.
    """
    at = operation.at_site
    assert at.site.dictionary is not None
    code, columns = code_of(session, at.site.dictionary), columns_of(at.site, session)

    def edit(picked: Tensor, positions: Tensor, basis: Tensor) -> Edit:
        value, site = _picked(examples.values, picked), edited(at).site
        if code.form.transcoder:
            # Its features are not of what it writes, but those of the clean base.
            old = upcast(_picked(examples.before, picked))
            change = along(upcast(value) - old, basis)
            return Edit(site, positions, code.moved(old, change, columns), add=True)
        return FeatureEdit(site, positions, value, basis, True, None, code, columns)

    return edit


def _picked(values: Tensor, picked: Tensor) -> Tensor:
    return values[placed(picked, values.device)]


@dataclass(frozen=True, eq=False)
class _Step:
    """The basis of a training now, and the examples of its next step."""

    training: Training
    basis: Tensor
    chosen: Tensor


@dataclass(frozen=True, eq=False)
class _Batch:
    """Examples of one step whose prompts are in one group: their indices, and rows of the group."""

    step: _Step
    picked: Tensor
    rows: Tensor

    def edit(self, group: Group) -> Edit:
        training = self.step.training
        positions = group.positions[training.at][self.rows]
        return training.edit(self.picked, positions, training.spread(self.step.basis))


def _losses(bases: PromptRuns, steps: list[_Step]) -> Tensor:
    """The mean loss of each training's batch; prompts of one group run together."""
    totals = [step.basis.new_zeros(()) for step in steps]
    for number, group in enumerate(bases.groups):
        alike: dict[tuple[str, int], list[tuple[int, _Batch]]] = {}
        for i, step in enumerate(steps):
            batch = _of_group(bases, step, number)
            if len(batch.rows):
                mark = (step.training.word.objective, len(batch.rows))
                alike.setdefault(mark, []).append((i, batch))
        for (objective, _), members in alike.items():
            sums = _SUMS[objective](bases, group, [batch for _, batch in members])
            for (i, _), total in zip(members, sums, strict=True):
                totals[i] = totals[i] + total
    means = [total / len(step.chosen) for total, step in zip(totals, steps, strict=True)]
    return torch.stack(means)


def _of_group(bases: PromptRuns, step: _Step, number: int) -> _Batch:
    """A group's prompts of a step, in order: a batch of all prompts is the group as it lies."""
    rows = step.training.examples.rows[step.chosen]
    mine = (bases.group_of[rows] == number).nonzero()[:, 0]
    members = bases.place_in[rows[mine]]
    order = torch.argsort(members, stable=True)
    return _Batch(step, step.chosen[mine[order]], members[order])


def _cross_entropy(bases: PromptRuns, group: Group, batches: list[_Batch]) -> Tensor:
    """Summed over the examples of each batch, (m,)."""
    wanted = torch.stack([b.step.training.examples.wanted[b.picked] for b in batches])
    edits = [[batch.edit(group)] for batch in batches]
    losses = Losses(placed(wanted, bases.device))
    return bases.backend.run(Pass(group.clean, edits, losses, _rows_of(batches))).sum(1)


def _logit_diff(bases: PromptRuns, group: Group, batches: list[_Batch]) -> Tensor:
    """Minus the logit difference, summed over the examples of each batch, (m,)."""
    columns = [
        torch.stack([e.wanted[b.picked], e.unwanted[b.picked]], 1)
        for b in batches
        for e in (b.step.training.examples,)
    ]
    both = placed(torch.stack(columns), bases.device)
    edits = [[batch.edit(group)] for batch in batches]
    logits = bases.backend.run(Pass(group.clean, edits, Logits(both), _rows_of(batches)))
    return (logits[:, :, 1] - logits[:, :, 0]).sum(1)


_SUMS = {"cross_entropy": _cross_entropy, "logit_diff": _logit_diff}


def _rows_of(batches: list[_Batch]) -> Tensor:
    """Rows of all batches alike (n,), or of each (m, n)."""
    first = batches[0].rows
    if all(torch.equal(batch.rows, first) for batch in batches[1:]):
        return first
    return torch.stack([batch.rows for batch in batches])
