"""The numbers by pair that the metrics of a program need of a run, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.answers import Answers
from causaldsl.engine.backend import Logits, Pass, logits_of
from causaldsl.engine.edits import Edit
from causaldsl.engine.metrics import from_vocabulary
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.weights.known_answers import check_numbers
from causaldsl.plan.chunks import VOCABULARY_ROWS
from causaldsl.plan.freeze import Freeze
from causaldsl.vocabulary.metrics import Metric, Seen

_KEPT = 256
"""Clean logits over the whole vocabulary are kept for runs of at most this many prompts."""

Found = tuple[dict[str, Tensor], float]
"""Numbers by pair for the prompts of one group, and the largest change of a logit."""


@torch.no_grad()
def group_outcomes(
    runs: PromptRuns,
    group: Group,
    arms: Sequence[Sequence[Edit]],
    freeze: Freeze | None,
    wanted: Sequence[Sequence[Metric]],
) -> list[Found]:
    """Numbers by pair of every arm, for one group; an arm without edits is the clean run.

    ``wanted`` are, for each arm, the metrics that need the whole vocabulary.
    """
    if not isinstance(runs.prompts[0].ids[0], int):  # a toy model: its output is a number
        return [_number(runs, group, edits, freeze) for edits in arms]
    chosen = [runs.pairs.pairs[row] for row in group.rows.tolist()]
    answers = runs.answers(group.rows.tolist())
    clean = runs.logits(group, [], answers.columns)
    check_numbers(clean)
    found: dict[int, Found] = {}
    for arm, edits in enumerate(arms):
        if not edits and not wanted[arm]:
            found[arm] = {"logit_diff": answers.by_pair(clean)}, 0.0
    plain = [arm for arm, edits in enumerate(arms) if edits and not wanted[arm]]
    if plain:
        edited = [arms[arm] for arm in plain]
        logits = runs.backend.run(Pass(group.clean, edited, Logits(answers.columns), hold=freeze))
        numbers, changes = answers.by_pair(logits), _largest(logits, clean)
        for arm, own, change in zip(plain, numbers, changes, strict=True):
            found[arm] = {"logit_diff": own}, change
    whole = [arm for arm, metrics in enumerate(wanted) if metrics]
    at_once = max(1, VOCABULARY_ROWS // max(1, len(chosen)))
    counterfactual = torch.tensor([pair.counterfactual for pair in chosen], device=runs.device)
    targets = Targets(answers, counterfactual, clean)
    for begin in range(0, len(whole), at_once):
        some = whole[begin : begin + at_once]
        edited, metrics = [arms[arm] for arm in some], [wanted[arm] for arm in some]
        outcomes = _of_vocabulary(runs, group, edited, freeze, metrics, targets)
        found |= zip(some, outcomes, strict=True)
    return [found[arm] for arm in range(len(arms))]


@dataclass(frozen=True, eq=False)
class Targets:
    """Answers and foils of a group's n prompts, counterfactual answers (n,), and the clean logits
    (n, c) of answers and foils."""

    answers: Answers
    counterfactual: Tensor
    clean: Tensor


def _of_vocabulary(
    runs: PromptRuns,
    group: Group,
    arms: Sequence[Sequence[Edit]],
    freeze: Freeze | None,
    wanted: Sequence[Sequence[Metric]],
    targets: Targets,
) -> list[Found]:
    """Outcomes of arms that want the logits of the whole vocabulary, some prompts at a time."""
    parts: list[list[dict[str, Tensor]]] = [[] for _ in arms]
    largest = [0.0] * len(arms)
    for rows in torch.arange(len(group.rows)).split(max(1, VOCABULARY_ROWS // len(arms))):
        answers, clean = targets.answers.take(rows), targets.clean[rows]
        compares = any(metric.compares for metrics in wanted for metric in metrics)
        before = _clean(runs, group, rows) if compares else None
        if any(arms):
            taken = [[edit.take(rows) for edit in edits] for edits in arms]
            logits = runs.backend.run(Pass(group.clean, taken, Logits(), rows, freeze))
        else:
            logits = _clean(runs, group, rows).expand(len(arms), -1, -1)
        own_columns = logits.gather(2, answers.columns.expand(len(arms), -1, -1))
        differences, changes = answers.by_pair(own_columns), _largest(own_columns, clean)
        largest = [max(pair) for pair in zip(largest, changes, strict=True)]
        for arm, (own, metrics) in enumerate(zip(logits, wanted, strict=True)):
            wanted_of = targets.counterfactual[rows]
            seen = Seen(own, before, answers.columns, wanted_of, answers.sides)
            numbers = from_vocabulary(seen, metrics)
            parts[arm].append({"logit_diff": differences[arm]} | numbers)
    return [
        ({name: torch.cat([part[name] for part in own]) for name in own[0]}, change)
        for own, change in zip(parts, largest, strict=True)
    ]


def _number(runs: PromptRuns, group: Group, edits: Sequence[Edit], freeze: Freeze | None) -> Found:
    clean = runs.logits(group, [], None)
    output = runs.logits(group, list(edits), None, freeze) if edits else clean
    return {"logit_diff": output[:, 0].cpu().double()}, _largest(output[None], clean)[0]


def _clean(runs: PromptRuns, group: Group, rows: Tensor) -> Tensor:
    """Clean logits (n, V) of some of a group's prompts."""
    if len(runs.prompts) <= _KEPT:
        return runs.logits(group, [], None)[rows]
    return logits_of(runs.backend, group.clean, rows=rows)


def _largest(logits: Tensor, clean: Tensor) -> list[float]:
    """The largest change of a logit in each arm, for logits (A, n, c)."""
    found: list[float] = (logits - clean).abs().amax((1, 2)).tolist()
    return found
