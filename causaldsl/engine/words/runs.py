"""Pairs, clean runs, interventions, patched runs, and the tables made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.edits import Edit, Freeze, Watch
from causaldsl.engine.metrics import Estimate, Outcome, estimate
from causaldsl.engine.outcomes import group_outcome
from causaldsl.engine.random_mlp import activations, write
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.sampling import sample_texts
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import (
    CleanRunWord,
    GivenWord,
    MeasureWord,
    Operation,
    PairsWord,
    PatchedRunWord,
    SiteAt,
)
from causaldsl.plan.freeze import freeze_of
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.interventions import Ablate, Patch, Steer

_REPORT = "this should not happen; compare with --backend hooks and report it"


@dataclass(frozen=True)
class Change:
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


@evaluates(GivenWord)
def given(session: Session, operation: Operation) -> Any:
    word = operation.word
    assert isinstance(word, GivenWord)
    return session.values[word.made]


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
    runs = session.runs(key, session.plan.backends[key])
    if operation.word.side == "source":  # type: ignore[attr-defined]
        return Outcome(torch.zeros(0))  # nothing is measured on sources
    return _outcome(session, key, runs, [], [])


@evaluates(Patch)
def patch(session: Session, operation: Operation) -> Change:
    values = _values(session, operation, "source")
    return _set(session, operation, values, _along(session, operation))


@evaluates(Ablate)
def ablate(session: Session, operation: Operation) -> Change:
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
def steer(session: Session, operation: Operation) -> Change:
    word = operation.word
    assert isinstance(word, Steer)
    along: SubspaceValue = session.value(operation.given("along"))
    if along.rank == 0:
        raise RunFailure("the direction to steer along is zero", "choose another direction")
    moved = word.by * along.direction[None]
    if operation.at_site.site.is_virtual:
        values = _values(session, operation, "base")
        return _set(session, operation, [value + moved.to(value) for value in values], None)
    return Change(operation.at_site, moved, None, add=True)


@evaluates(PatchedRunWord)
def patched_run(session: Session, operation: Operation) -> Outcome:
    changes = changes_of(session, operation)
    base = operation.given("base")
    runs = session.runs(base, session.plan.backends[operation.key])
    watches = [Watch() for _ in changes]
    freeze = freeze_of(operation.word)
    outcome = _outcome(session, operation.key, runs, changes, watches, freeze)
    by_paths = any(isinstance(session.value(key), list) for key in operation.all_given("do"))
    check_made(session, changes, watches)
    if freeze is None and not by_paths:
        _check_effect(session, changes, watches, outcome, runs.pairs)
    return outcome


def changes_of(session: Session, operation: Operation) -> list[Change]:
    """What is changed in a run, by interventions and by paths (which change several places)."""
    changes: list[Change] = []
    for key in operation.all_given("do"):
        value = session.value(key)
        changes += value if isinstance(value, list) else [value]
    return changes


@evaluates(MeasureWord)
def measure(session: Session, operation: Operation) -> dict[str, dict[str, Estimate]]:
    """Every metric of every run, by the run's name."""
    word = operation.word
    assert isinstance(word, MeasureWord)
    clean_key = operation.given("clean")
    assert clean_key is not None
    clean: Outcome = session.value(clean_key)
    table: dict[str, dict[str, Estimate]] = {}
    for given in operation.inputs:
        table[given.role] = {
            metric: estimate(
                metric,
                session.value(given.key),
                clean,
                # The same draws of pairs for every arm, so that arms can be compared.
                session.generator(0, "bootstrap", clean_key),
                session.settings.resamples,
            )
            for metric in word.metrics
        }
    return table


def _values(session: Session, operation: Operation, side: str) -> list[Tensor]:
    key = operation.given(side)
    assert key is not None
    backend = session.plan.recorded_by(key, operation.at_site)
    return activations(session, key, backend, operation.at_site)


def _set(
    session: Session, operation: Operation, values: list[Tensor], basis: Tensor | None
) -> Change:
    """Set the operation's site to a value for each pair."""
    at = operation.at_site
    if not at.site.is_virtual:
        return Change(at, values, basis)
    base = operation.given("base")
    assert base is not None
    edit = write(session, base, session.plan.recorded_by(base, at), at)
    along = None if basis is None else basis.to(values[0])
    nowhere = torch.zeros(0)
    moves = [
        edit(hidden, value, nowhere, along).value
        for hidden, value in zip(_values(session, operation, "base"), values, strict=True)
    ]
    return Change(edited(at), moves, None, add=True)


def _along(session: Session, operation: Operation) -> Tensor | None:
    """The basis to intervene along; None for the whole site."""
    key = operation.given("along")
    return None if key is None else session.value(key).basis


def check_made(session: Session, changes: list[Change], watches: list[Watch]) -> None:
    """A change that never happened is an error; one that changed nothing is worth a note."""
    check_fired(changes, watches)
    for change, watch in zip(changes, watches, strict=True):
        if watch.largest == 0:
            session.note(f"the intervention at {change.at} left every activation as it was")


def check_fired(changes: list[Change], watches: list[Watch]) -> None:
    """A change that never happened is an error."""
    for change, watch in zip(changes, watches, strict=True):
        if watch.times == 0:
            raise RunFailure(f"the intervention at {change.at} was never made", _REPORT)


def _check_effect(
    session: Session,
    changes: list[Change],
    watches: list[Watch],
    outcome: Outcome,
    pairs: PairSet,
) -> None:
    """A change that was lost on the way is an error and not a zero.

    Along a subspace an effect of exactly zero can be right: the next matrix may not see it.
    """
    for change, watch in zip(changes, watches, strict=True):
        whole = change.basis is None and not change.add
        lost = outcome.largest_change == 0 and watch.largest > 0
        if whole and lost and len(changes) == 1 and _can_reach(session, change, pairs):
            message = f"the intervention at {change.at} changed the activation but no logit"
            raise RunFailure(message, _REPORT)


def _can_reach(session: Session, change: Change, pairs: PairSet) -> bool:
    """Whether causality lets this change reach the answer: it is at END, or attention reads it."""
    if change.at.site.feeds_attention(session.loaded.spec.shapes):
        return True
    position = change.at.position
    return any(position.resolve(p.base)[-1] == p.base.length - 1 for p in pairs.pairs)


def _outcome(
    session: Session,
    key: str,
    runs: PromptRuns,
    changes: list[Change],
    watches: list[Watch],
    freeze: Freeze | None = None,
) -> Outcome:
    """Run every group with the changes in force, and keep what the metrics want of each pair."""
    rows: dict[str, list[Tensor]] = {}
    largest, wanted = 0.0, session.plan.vocabulary.get(key, set())
    for group in runs.groups:
        edits = [c.edit(group, watch) for c, watch in zip(changes, watches, strict=True)]
        found, change = group_outcome(runs, group, edits, freeze, wanted)
        largest = max(largest, change)
        for name, values in found.items():
            rows.setdefault(name, []).append(values.cpu())
    in_order = {name: torch.cat(parts)[runs.order] for name, parts in rows.items()}
    return Outcome(**in_order, largest_change=largest)
