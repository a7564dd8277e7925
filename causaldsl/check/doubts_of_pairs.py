"""Warnings about what a program does with its pairs: what was chosen on them, what is their own
already, and what they have otherwise than what a dictionary was trained on."""

from __future__ import annotations

from typing import NamedTuple

from causaldsl.check.cautions import warn_of_trained_texts
from causaldsl.check.chosen import chosen_on
from causaldsl.check.context import Context
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.check.generated import Generation
from causaldsl.check.measurements import Measurement
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.check.runs import own_values
from causaldsl.check.values import Applied, CheckedPath, CheckedTrace
from causaldsl.diagnostics import Span


def warn_of_pairs(context: Context) -> None:
    """All of them."""
    _warn_of_dictionaries(context)
    _warn_of_own_values(context)
    _warn_of_chosen(context)


def _warn_of_dictionaries(context: Context) -> None:
    """Warn of prompts that begin otherwise than what a dictionary was trained on."""
    defined = context.program.defined.values()
    sets = [one for v in defined if isinstance(v, PairFamily) for one in v.sets]
    sets += [v for v in defined if isinstance(v, PromptSet) and v.sample is None]
    for value in defined:
        if isinstance(value, CheckedDictionary):
            form = value.dictionary.form
            warn_of_trained_texts(context, value.name, form.bos, sets, value.span)


class _Run(NamedTuple):
    """What is done to pairs, as it is called, and where it is written."""

    label: str
    does: tuple[Applied | CheckedPath, ...]
    pairs: PairSet
    span: Span


def _warn_of_own_values(context: Context) -> None:
    """Warn of runs that put a base's own values back, and do nothing else."""
    program, runs = context.program, list[_Run]()
    several: list[Measurement | Generation] = [*program.measurements.values()]
    for measured in (*several, *program.generations.values()):
        runs += [_Run(r.label, r.interventions, measured.pairs, r.span) for r in measured.runs]
    for trace in program.traces.values():
        runs.append(_Run(trace.text, trace.interventions, trace.pairs, trace.span))
    for histogram in program.histograms.values():
        arms = [(arm, pairs) for arm in histogram.arms for pairs in histogram.sets]
        runs += [_Run(arm.label, arm.interventions, pairs, arm.span) for arm, pairs in arms]
    for run in runs:
        done = [one for part in run.does for one in changes_of(part)]
        if done and all(own_values(one, run.pairs) for one in done):
            context.warn(
                "own-values",
                f"`{run.label}` puts in what the base has there itself, and changes nothing",
                run.span,
                "take values from a source, a mean or another run; or write it behind "
                "something else: A then patch S from base",
            )


def _warn_of_chosen(context: Context) -> None:
    """Warn of what is measured on the pairs on which it was chosen, where no claim has said so."""
    program = context.program
    claimed = {
        operand
        for claim in program.claims
        if claim.selected
        for part in claim.condition.walk()
        for _, operand in part.operands
        if isinstance(operand, str)
    }
    measures: list[Measurement | CheckedTrace] = [*program.measurements.values()]
    for measured in (*measures, *program.traces.values()):
        touched = context.scope.choices.get(measured.name, {})
        choice = chosen_on(context, touched, [measured.pairs])
        if choice is not None and measured.name not in claimed:
            context.warn(
                "chosen-on-these",
                f"`{measured.name}` measures what {choice} chose on the same pairs: chosen for its "
                "size, it is too large on them",
                measured.span,
                "choose on other pairs, such as the .train part, and measure on these",
            )


def changes_of(part: Applied | CheckedPath) -> tuple[Applied, ...]:
    """What a part of a run changes: an intervention, or what a path starts with."""
    return part.changes if isinstance(part, CheckedPath) else (part,)
