"""Pairs, clean runs, interventions, patched runs, and the tables made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.edits import Edit, Freeze, Watch
from causaldsl.engine.metrics import Outcome, estimate
from causaldsl.engine.outcomes import Found, group_outcomes
from causaldsl.engine.random_mlp import write
from causaldsl.engine.reads import activations
from causaldsl.engine.registry import evaluates, evaluates_together
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.sampling import sample_texts
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import (
    CleanRunWord,
    MadeWord,
    MeasureWord,
    Operation,
    PairsWord,
    PatchedRunWord,
    SiteAt,
)
from causaldsl.plan.freeze import freeze_of
from causaldsl.plan.names import listed
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.interventions import Ablate, Patch, Steer

_ROWS_AT_ONCE = 8192
"""Rows (arms x pairs) whose values to patch in are gathered at the same time."""
NOT_WANTED = Outcome({"logit_diff": torch.zeros(0)})
"""Of a run whose logits nobody uses, and which therefore is not made."""
_REPORT = "this should not happen; compare with --backend hooks and report it"


@dataclass(frozen=True)
class PreparedEdit:
    """An intervention, ready to run: the value for each pair, (k, d), or one for all of them."""

    at: SiteAt
    values: list[Tensor] | Tensor
    basis: Tensor | None
    add: bool = False

    def by_pair(self, count: int) -> list[Tensor]:
        """The value for each of ``count`` pairs."""
        return [self.values] * count if isinstance(self.values, Tensor) else self.values

    def edit(self, group: Group, watch: Watch | None = None) -> Edit:
        positions = group.positions[self.at]
        if isinstance(self.values, Tensor):
            value = self.values.expand(*positions.shape, self.values.shape[-1])
        else:
            value = torch.stack([self.values[row] for row in group.rows.tolist()])
        return Edit(self.at.site, positions, value, self.basis, self.add, watch)


class Arm:
    """All changes of one run, and what is seen of their being made."""

    def __init__(self, changes: list[PreparedEdit]):
        self.changes, self.watches = changes, [Watch() for _ in changes]

    def edits(self, group: Group) -> list[Edit]:
        together = zip(self.changes, self.watches, strict=True)
        return [change.edit(group, watch) for change, watch in together]


@evaluates(MadeWord)
def made(session: Session, operation: Operation) -> Any:
    word = operation.word
    assert isinstance(word, MadeWord)
    return session.values[word.key]


@evaluates(PairsWord)
def pairs(session: Session, operation: Operation) -> PairSet:
    found = session.graph.pairs[operation.key]
    if isinstance(found, PromptSet) and found.sample is not None:
        found = session.graph.pairs[operation.key] = sample_texts(session, found)
    return found


@evaluates(CleanRunWord)
def clean_run(session: Session, operation: Operation) -> Outcome:
    """The clean run's own outcome; the run itself is kept by the session."""
    key = operation.key
    if key not in session.plan.outcomes:
        return NOT_WANTED
    runs = session.runs(key, session.plan.backends[key])
    return _outcomes(session, [key], runs, [Arm([])], None)[0]


@evaluates(Patch)
def patch(session: Session, operation: Operation) -> PreparedEdit:
    values = _values(session, operation, "source")
    return _set(session, operation, values, _along(session, operation))


@evaluates(Ablate)
def ablate(session: Session, operation: Operation) -> PreparedEdit:
    word = operation.word
    assert isinstance(word, Ablate)
    values = _values(session, operation, "base")
    basis = _along(session, operation)
    if word.to == "zero":
        return _set(session, operation, [torch.zeros_like(v) for v in values], basis)
    if word.to == "mean":
        return _set(session, operation, [stack(values).mean(0)] * len(values), basis)
    generator = session.generator(0, "resample", operation.key)
    order = torch.randperm(len(values), generator=generator).tolist()
    # Along one cycle through all pairs, so that no base gets its own value back.
    after = {order[i]: order[(i + 1) % len(order)] for i in range(len(order))}
    resampled = [values[after[i]] for i in range(len(values))]
    stack(resampled)
    return _set(session, operation, resampled, basis)


@evaluates(Steer)
def steer(session: Session, operation: Operation) -> PreparedEdit:
    word = operation.word
    assert isinstance(word, Steer)
    along: SubspaceValue = session.value(operation.given("along"))
    if along.rank == 0:
        raise RunFailure("the direction to steer along is zero", "choose another direction")
    moved = word.by * along.direction[None]
    if operation.at_site.site.is_virtual:
        values = _values(session, operation, "base")
        return _set(session, operation, [value + moved.to(value) for value in values], None)
    return PreparedEdit(operation.at_site, moved, None, add=True)


@evaluates_together(PatchedRunWord)
def patched_runs(session: Session, operations: list[Operation]) -> list[Outcome]:
    """Runs of the same bases that hold the same: all in one pass."""
    first, keys = operations[0], [operation.key for operation in operations]
    if not session.plan.asked[first.key].requests:
        return [NOT_WANTED for _ in operations]
    runs = session.runs(first.given("base"), session.plan.backends[first.key])
    arms = [Arm(changes_of(session, operation)) for operation in operations]
    freeze = freeze_of(first.word)
    outcomes = _outcomes(session, keys, runs, arms, freeze)
    check_made(session, dict(zip(keys, arms, strict=True)))
    for operation, arm, outcome in zip(operations, arms, outcomes, strict=True):
        by_paths = any(isinstance(session.value(key), list) for key in operation.all_given("do"))
        if freeze is None and not by_paths:
            _check_effect(session, arm, outcome, runs.pairs)
    return outcomes


def changes_of(session: Session, operation: Operation) -> list[PreparedEdit]:
    """What is changed in a run, by interventions and by paths (which change several places)."""
    changes: list[PreparedEdit] = []
    for key in operation.all_given("do"):
        value = session.value(key)
        changes += value if isinstance(value, list) else [value]
    return changes


@evaluates(MeasureWord)
def measure(session: Session, operation: Operation) -> dict[str, dict[str, Estimate]]:
    """Every metric of every run, by the run's name."""
    word = operation.word
    assert isinstance(word, MeasureWord)
    if not word.metrics:
        return {}
    clean_key = operation.input("clean")
    clean: Outcome = session.value(clean_key)
    # The same draws of pairs for every arm, so that arms can be compared.
    bootstrap = session.bootstrap("bootstrap", clean_key)
    metrics = [session.graph.vocabulary.metrics[name] for name in word.metrics]
    return {
        arm.role: {m.word: estimate(m, session.value(arm.key), clean, bootstrap) for m in metrics}
        for arm in operation.inputs
    }


def _values(session: Session, operation: Operation, side: str) -> list[Tensor]:
    key = operation.given(side)
    assert key is not None
    backend = session.plan.recorded_by(key, operation.at_site)
    return activations(session, key, backend, operation.at_site)


def _set(
    session: Session, operation: Operation, values: list[Tensor], basis: Tensor | None
) -> PreparedEdit:
    """Set the operation's site to a value for each pair."""
    at = operation.at_site
    if not at.site.is_virtual:
        return PreparedEdit(at, values, basis)
    base = operation.given("base")
    assert base is not None
    edit = write(session, base, session.plan.recorded_by(base, at), at)
    along = None if basis is None else basis.to(values[0])
    nowhere = torch.zeros(0)
    moves = [
        edit(hidden, value, nowhere, along).value
        for hidden, value in zip(_values(session, operation, "base"), values, strict=True)
    ]
    return PreparedEdit(edited(at), moves, None, add=True)


def _along(session: Session, operation: Operation) -> Tensor | None:
    """The basis to intervene along; None for the whole site."""
    key = operation.given("along")
    return None if key is None else session.value(key).basis


def check_made(session: Session, arms: Mapping[str, Arm]) -> None:
    """A change that never happened is an error; those that changed nothing are worth a note.

    ``arms`` are by their operations' keys.
    """
    idle: dict[str, list[str]] = {}
    for key, arm in arms.items():
        check_fired(arm)
        for change, watch in zip(arm.changes, arm.watches, strict=True):
            if watch.largest == 0:
                idle.setdefault(str(change.at), []).append(session.names[key])
    for at, names in idle.items():
        who = listed(list(dict.fromkeys(names)))
        session.note(f"{who}: the intervention at {at} left every activation as it was")


def check_fired(arm: Arm) -> None:
    """A change that never happened is an error."""
    for change, watch in zip(arm.changes, arm.watches, strict=True):
        if watch.times == 0:
            raise RunFailure(f"the intervention at {change.at} was never made", _REPORT)


def _check_effect(session: Session, arm: Arm, outcome: Outcome, pairs: PairSet) -> None:
    """A change that was lost on the way is an error and not a zero.

    Along a subspace an effect of exactly zero can be right: the next matrix may not see it.
    """
    for change, watch in zip(arm.changes, arm.watches, strict=True):
        whole = change.basis is None and not change.add
        lost = outcome.largest_change == 0 and watch.largest > 0
        if whole and lost and len(arm.changes) == 1 and _can_reach(session, change, pairs):
            message = f"the intervention at {change.at} changed the activation but no logit"
            raise RunFailure(message, _REPORT)


def _can_reach(session: Session, change: PreparedEdit, pairs: PairSet) -> bool:
    """Whether causality lets this change reach the answer: it is at END, or attention reads it."""
    if change.at.site.feeds_attention(session.loaded.spec.shapes):
        return True
    position = change.at.position
    return any(position.resolve(p.base)[-1] == p.base.length - 1 for p in pairs.pairs)


def _outcomes(
    session: Session,
    keys: list[str],
    runs: PromptRuns,
    arms: list[Arm],
    freeze: Freeze | None,
) -> list[Outcome]:
    """Run every group with each arm's changes in force; keep what the metrics want of each pair."""
    metrics = session.graph.vocabulary.metrics
    names = [sorted(session.plan.outcomes.get(key, ())) for key in keys]
    wanted = [[metrics[name] for name in of_run] for of_run in names]
    found: list[list[Found]] = [[] for _ in arms]
    for done, group in enumerate(runs.groups):
        at_once = max(1, _ROWS_AT_ONCE // max(1, len(group.rows)))
        for begin in range(0, len(arms), at_once):
            some = slice(begin, begin + at_once)
            if len(arms) > 1:
                ahead = done * len(arms) + begin
                session.progress("patched runs", ahead, len(runs.groups) * len(arms))
            edits = [arm.edits(group) for arm in arms[some]]
            outcomes = group_outcomes(runs, group, edits, freeze, wanted[some])
            for own, outcome in zip(found[some], outcomes, strict=True):
                own.append(outcome)
    return [_in_order(runs, parts) for parts in found]


def _in_order(runs: PromptRuns, parts: list[Found]) -> Outcome:
    """The outcome by pair, of what was found for each group."""
    numbers = {
        name: torch.cat([values[name].cpu() for values, _ in parts])[runs.order]
        for name in parts[0][0]
    }
    return Outcome(numbers, largest_change=max(change for _, change in parts))
