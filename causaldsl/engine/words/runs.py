"""Pairs, clean runs, patched runs, and the tables made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.circuits import wired
from causaldsl.engine.edits import Edit, Watch, read_changes
from causaldsl.engine.here import Here
from causaldsl.engine.metrics import Measured, Outcome
from causaldsl.engine.outcomes import Found, group_outcomes
from causaldsl.engine.prepared import PreparedEdit, check_commute
from causaldsl.engine.registry import evaluates, evaluates_together
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.sampling import sample_texts
from causaldsl.engine.session import Session
from causaldsl.engine.spelled import by_whole
from causaldsl.engine.unfinished import Unfinished
from causaldsl.graph.operations import (
    NOTHING_OF,
    SOURCES,
    CleanRunWord,
    MadeWord,
    MeasureWord,
    Operation,
    PairsWord,
    PatchedRunWord,
)
from causaldsl.plan.chunks import chunked
from causaldsl.plan.freeze import Freeze, freeze_of
from causaldsl.plan.names import listed
from causaldsl.vocabulary.metrics import EMPTY, SOURCE

NOT_WANTED = Outcome({"logit_diff": torch.zeros(0)})
"""The outcome of a run that is not made, since nobody uses its logits."""
_REPORT = "this should not happen; compare with --backend hooks and report it"


class Arm:
    """All changes of one run, and what is seen of their being made."""

    def __init__(self, changes: list[PreparedEdit]):
        self.changes, self.watches = changes, [Watch() for _ in changes]

    def edits(self, group: Group) -> list[Edit]:
        together = zip(self.changes, self.watches, strict=True)
        return [change.edit(group, watch) for change, watch in together]


@evaluates(MadeWord)
def made(here: Here[MadeWord]) -> Any:
    return here.session.values[here.word.key]


@evaluates(PairsWord)
def pairs(here: Here[PairsWord]) -> PairSet:
    known = here.session.graph.pairs
    found = known[here.key]
    if isinstance(found, PromptSet) and found.sample is not None:
        found = known[here.key] = sample_texts(here.session, found)
    return found


@evaluates(CleanRunWord)
def clean_run(here: Here[CleanRunWord]) -> Outcome:
    """The clean run's own outcome; the run itself is kept by the session."""
    session, key = here.session, here.key
    if key not in session.plan.outcomes:
        return NOT_WANTED
    return _outcomes(session, [key], session.runs(key, here.backend), [Arm([])], None)[0]


@dataclass(frozen=True)
class Effect:
    """What was seen of a change over some pairs: where it was made, how often, and the largest
    change of an activation. ``shows``: if there was one, a logit must have changed too."""

    at: str
    times: int
    largest: float
    shows: bool

    def joined(self, other: Effect) -> Effect:
        """That of the same change over these pairs and others."""
        largest, shows = max(self.largest, other.largest), self.shows or other.shows
        return Effect(self.at, self.times + other.times, largest, shows)


Ran = tuple[Outcome, list[Effect]]
"""What came of a run, and what was seen of each of its changes."""


@evaluates_together(PatchedRunWord)
def patched_runs(session: Session, operations: list[Operation]) -> list[Outcome]:
    """Runs of the same bases that hold the same: all in one pass."""
    if not session.plan.asked[operations[0].key].requests:
        return [NOT_WANTED for _ in operations]
    ran = run_together(session, operations)
    check_ran(ran, session.noted, session.note)
    return [outcome for outcome, _ in ran.values()]


def run_together(session: Session, operations: list[Operation]) -> dict[str, Ran]:
    """What came of patched runs that share a pass, by key; nothing of it is judged yet."""
    first, keys = operations[0], [operation.key for operation in operations]
    runs = session.runs(first.input("base"), session.plan.backends[first.key])
    arms = [Arm(changes_of(session, operation)) for operation in operations]
    freeze = freeze_of(first.word)
    outcomes = _outcomes(session, keys, runs, arms, freeze)
    read_changes(watch for arm in arms for watch in arm.watches)
    found: dict[str, Ran] = {}
    for operation, arm, outcome in zip(operations, arms, outcomes, strict=True):
        by_paths = any(isinstance(session.values[key], list) for key in operation.inputs_as("do"))
        shows = freeze is None and not by_paths and _shows(session, arm, runs.pairs)
        found[operation.key] = outcome, effects_of(arm, shows)
    return found


def changes_of(session: Session, operation: Operation) -> list[PreparedEdit]:
    """What is changed in a run, by interventions and by paths (which change several places)."""
    changes: list[PreparedEdit] = []
    stages: list[int] = []
    keys = operation.inputs_as("do")
    staged = getattr(operation.word, "stages", ()) or (0,) * len(keys)
    for key, stage in zip(keys, staged, strict=True):
        value = session.values[key]
        several = value if isinstance(value, list) else [value]
        changes += several
        stages += [stage] * len(several)
    pairs = session.graph.pairs_of(operation.input("base"))
    check_commute(changes, stages, pairs, session.loaded.dtype)
    word = operation.word
    if not isinstance(word, PatchedRunWord) or not word.circuit:
        return changes
    changes = [replace(change, of="all that is outside the circuit") for change in changes]
    return wired(session, word.edges, changes) if word.edges else changes


@evaluates(MeasureWord)
def measure(here: Here[MeasureWord]) -> dict[str, dict[str, Estimate]]:
    """Every metric of every run, by the run's name.

    Of no metrics it only keeps its runs, as where precisions are compared.
    """
    if not here.word.metrics:
        return {arm.role: {} for arm in here.operation.arms}
    session, known = here.session, here.session.graph.vocabulary.metrics
    pairs = session.graph.pairs_of(here.operation.input("clean"))
    outcomes = outcomes_of(here.operation, session)
    clean, pairs = outcomes["clean"], pairs.original or pairs
    if session.loaded.spec.shapes.text and pairs.foils:
        session.preferred[pairs.name] = int((clean.logit_diff > 0).sum()), len(pairs)
    measured = Measured(outcomes, clean, session.bootstrap(pairs))
    for name in here.word.metrics:
        measured.add(known[name])
    for reason in measured.withheld.values():
        here.note(reason)
    return measured


def outcomes_of(operation: Operation, session: Session) -> dict[str, Outcome]:
    """The outcomes of a measure's arms by pair, by their names.

    The clean one has the sources' logit differences too, if its metrics need them.
    """
    pairs = session.graph.pairs_of(operation.input("clean"))
    by_key: dict[str, Outcome] = {}
    for arm in operation.arms:
        if arm.key not in by_key:
            found: Outcome = session.values[arm.key]
            by_key[arm.key] = by_whole(found, pairs.original) if pairs.original else found
    sources, clean = operation.find(SOURCES), operation.input("clean")
    if sources is not None:
        added = {SOURCE: session.values[sources].logit_diff}
        by_key[clean] = replace(by_key[clean], columns=by_key[clean].columns | added)
    runs = {arm.role: by_key[arm.key] for arm in operation.arms}
    for given in operation.inputs:
        if not given.role.startswith(NOTHING_OF):
            continue
        empty: Outcome = session.values[given.key]
        for name in (given.role.removeprefix(NOTHING_OF), "clean"):
            columns = runs[name].columns
            if EMPTY not in columns:
                runs[name] = replace(runs[name], columns=columns | {EMPTY: empty.logit_diff})
    return runs


def effects_of(arm: Arm, shows: bool = False) -> list[Effect]:
    """What was seen of an arm's changes, where they have been read."""
    found: list[Effect] = []
    parts: dict[str, Effect] = {}
    for change, watch in zip(arm.changes, arm.watches, strict=True):
        effect = Effect(str(change.at), watch.times, watch.largest, shows)
        if not change.of:
            found.append(effect)
            continue
        _check_times(effect.at, effect.times)
        effect = Effect(change.of, watch.times, watch.largest, shows=False)
        parts[change.of] = parts[change.of].joined(effect) if change.of in parts else effect
    return [*found, *parts.values()]


def check_made(
    effects: Mapping[str, Sequence[Effect]],
    names: Mapping[str, str],
    note: Callable[[str], None],
) -> None:
    """A change that never happened is an error; those that changed nothing are worth a note.

    ``effects`` and ``names`` are by the operations' keys; a run without a name has no note.
    """
    idle: dict[str, list[str]] = {}
    for key, of_run in effects.items():
        for effect in of_run:
            _check_times(effect.at, effect.times)
            if effect.largest == 0 and key in names:
                idle.setdefault(effect.at, []).append(names[key])
    for at, who in idle.items():
        called = listed(list(dict.fromkeys(who)))
        note(f"{called}: the intervention at {at} left every activation as it was")


def check_ran(
    ran: Mapping[str, Ran], names: Mapping[str, str], note: Callable[[str], None]
) -> None:
    """As :func:`check_made`; a change that was lost on the way is an error too, and not a zero."""
    check_made({key: effects for key, (_, effects) in ran.items()}, names, note)
    for outcome, effects in ran.values():
        for effect in effects:
            if effect.shows and outcome.largest_change == 0 and effect.largest > 0:
                message = f"the intervention at {effect.at} changed the activation but no logit"
                raise RunFailure(message, _REPORT)


def check_fired(arm: Arm) -> None:
    """A change that never happened is an error."""
    for change, watch in zip(arm.changes, arm.watches, strict=True):
        _check_times(str(change.at), watch.times)


def _check_times(at: str, times: int) -> None:
    if times == 0:
        raise RunFailure(f"the intervention at {at} was never made", _REPORT)


def _shows(session: Session, arm: Arm, pairs: PairSet) -> bool:
    """Whether a logit must change with an activation: where the one change is of a whole site.

    Along a subspace an effect of exactly zero can be right: the next matrix may not see it.
    """
    whole = [change.basis is None and not change.add for change in arm.changes]
    return whole == [True] and _can_reach(session, arm.changes[0], pairs)


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
    watches = [arm.watches for arm in arms]
    unfinished = Unfinished(session.checkpoints(keys), runs, wanted, watches)
    for done, group in enumerate(runs.groups):
        for some in chunked(len(arms), len(group.rows)):
            if len(arms) > 1:
                ahead = done * len(arms) + some.start
                session.progress("patched runs", ahead, len(runs.groups) * len(arms))
            part = f"{done} {some.start} {some.stop}"
            outcomes = unfinished.parts.get(part)
            if outcomes is None:
                edits = [arms[i].edits(group) for i in some]
                outcomes = group_outcomes(runs, group, edits, freeze, [wanted[i] for i in some])
                unfinished.add(part, outcomes)
            for i, outcome in zip(some, outcomes, strict=True):
                found[i].append(outcome)
    return [_in_order(runs, parts) for parts in found]


def _in_order(runs: PromptRuns, parts: list[Found]) -> Outcome:
    """What was found for each group, by pair."""
    # Parts that a stopped run left come back by their names' order.
    names = sorted(parts[0][0], key=lambda name: (name != "logit_diff", name))
    numbers = {
        name: torch.cat([values[name].cpu() for values, _ in parts])[runs.order] for name in names
    }
    return Outcome(numbers, largest_change=max(change for _, change in parts))
