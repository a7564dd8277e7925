"""The numbers by pair behind the numbers of the results, kind by kind (``results/values.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.values import Histogram
from causaldsl.engine.attribution.found import Attributed
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.session import Session
from causaldsl.engine.tracing.trace import Traced
from causaldsl.engine.words.generation import Texts
from causaldsl.engine.words.histograms import Projected
from causaldsl.engine.words.runs import outcomes_of
from causaldsl.graph.operations import MeasureWord, Operation
from causaldsl.results.routes import LISTED
from causaldsl.results.values import Block
from causaldsl.vocabulary.metrics import Metric


def blocks(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """All of them, in the program's order for each kind of statement."""
    yield from _measures(program, session)
    yield from _fits(program, session)
    yield from _generations(program, session)
    yield from _histograms(program, session)
    yield from _traces(program, session)
    yield from _attributions(program, session)
    yield from _audits(program, session)


def _measures(program: CheckedProgram, session: Session) -> Iterator[Block]:
    for name, measurement in program.measurements.items():
        axes = [axis.name for axis in measurement.axes]
        cells = {
            run.name: dict(zip(axes, run.coordinates, strict=True))
            for run in measurement.runs
            if run.coordinates
        }
        yield from _measure(session, name, session.graph.key_of(name), cells)


def _measure(
    session: Session, name: str, key: str, cells: Mapping[str, Mapping[str, str]]
) -> Iterator[Block]:
    """All arms of a measure operation, with the cell that each is in, by its name."""
    operation = session.graph.operation(key)
    clean_key = operation.input("clean")
    pairs = session.graph.pairs_of(clean_key)
    pairs, outcomes = pairs.original or pairs, outcomes_of(operation, session)
    known = session.graph.vocabulary.metrics
    assert isinstance(operation.word, MeasureWord)
    metrics = [known[metric] for metric in operation.word.metrics]
    for arm in operation.arms:
        cell = cells.get(arm.role, {})
        arm_name = arm.role.partition("[")[0] if cell else arm.role
        columns = _columns(session, metrics, outcomes[arm.role], outcomes["clean"])
        if not pairs.foils:
            columns["logit"] = columns.pop("logit_diff")  # of the answer alone
        for metric, values in columns.items():
            yield Block(name, arm_name, metric, pairs, values.numpy(), cell)


def _columns(
    session: Session, metrics: list[Metric], run: Outcome, clean: Outcome
) -> dict[str, torch.Tensor]:
    """What was kept of a run, and each metric that is the mean of one column.

    Metrics of several means, such as fldd, follow from what was kept of a run and of the clean one.
    """
    found = dict(run.columns)
    if not session.loaded.spec.shapes.text:
        found["output"] = found.pop("logit_diff")
    for metric in metrics:
        columns = metric.means(run.columns, clean.columns)
        if len(columns) == 1 and type(metric).value is Metric.value:
            found[metric.word] = columns[0].double()
    return found


def _fits(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """The effect of named learned subspaces on training and held-out pairs."""
    for name in program.named:
        fit = session.graph.made.get(f"fit of {session.graph.key_of(name)}")
        for measure in fit.parts.values() if fit else ():
            yield from _measure(session, name, measure, {})


def _generations(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """Numbers of the texts behind each prompt."""
    for name, made in session.graph.of_kind("generate").items():
        found: Texts = session.values[made.key]
        for arm, run in found.runs.items():
            pairs = session.graph.pairs_of(session.graph.operation(made.parts[arm]).input("base"))
            for metric, values in run.columns.items():
                yield Block(name, arm, metric, pairs, values.numpy())


def _histograms(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """Projections of bases; where base and source are the classes, of both under these names."""
    for name, histogram in program.histograms.items():
        operation = session.graph.operation(session.graph.key_of(name))
        for arm in histogram.arms:
            keys = operation.inputs_as(arm.name)
            for i, key in enumerate(keys):
                run = session.graph.operation(session.graph.operation(key).input("run"))
                yield _projections(session, histogram, arm.name, session.values[key], run, i)


def _projections(
    session: Session, histogram: Histogram, arm: str, found: Projected, run: Operation, i: int
) -> Block:
    """``run`` is the operation of the run that was projected, ``i`` its rank in the arm."""
    clean = session.graph.operation(run.input("base")) if run.inputs_as("do") else run
    rows = [row for row, value in enumerate(found.values) for _ in range(len(value))]
    metric = f"projection of {histogram.classes[i]}" if histogram.by == "side" else "projection"
    values = torch.cat(found.values).numpy()
    pairs = session.graph.pairs[clean.input("pairs")]
    return Block(histogram.name, arm, metric, pairs, values, rows=rows)


def _traces(program: CheckedProgram, session: Session) -> Iterator[Block]:
    for name, trace in program.traces.items():
        found: Traced = session.values[session.graph.key_of(name)]
        for (arm, metric), values in found.by_pair.items():
            yield Block(name, arm, metric, trace.pairs, values.cpu().numpy())


def _attributions(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """Estimates of those that are listed, and the exact effects of the sample."""
    for name, attribution in program.attributions.items():
        found: Attributed = session.values[session.graph.key_of(name)]
        for i in dict.fromkeys([*found.largest(LISTED), *found.drawn]):
            node, values = str(attribution.nodes[i]), found.estimates[:, i]
            yield Block(name, node, "estimate", attribution.pairs, values.numpy())
        for i, exact in zip(found.drawn, found.exact.unbind(1), strict=True):
            node = str(attribution.nodes[i])
            yield Block(name, node, "exact", attribution.pairs, exact.numpy())


def _audits(program: CheckedProgram, session: Session) -> Iterator[Block]:
    """The runs behind an audit's effects and shares."""
    for name, audit in program.audits.items():
        for arm, key in session.graph.made[name].parts.items():
            run = session.values[key]
            for metric, values in _columns(session, [], run, run).items():
                yield Block(name, arm, metric, audit.pairs, values.numpy())
