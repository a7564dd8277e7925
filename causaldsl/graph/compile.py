"""From a checked program to a networkx graph of operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.check.places import Place
from causaldsl.check.tabled import Table
from causaldsl.check.values import (
    Applied,
    CheckedAudit,
    CheckedPath,
    CheckedTrace,
    ClassName,
    Histogram,
    HistogramArm,
    Measurement,
    Run,
)
from causaldsl.diagnostics import Span
from causaldsl.graph.audits import compile_audit
from causaldsl.graph.operations import (
    CleanRunWord,
    HopWord,
    Input,
    MeasureWord,
    Operation,
    PatchedRunWord,
    SiteAt,
    TableWord,
    TraceWord,
    pairs_operation,
)
from causaldsl.vocabulary.base import SIDES, Side
from causaldsl.vocabulary.histograms import HistogramWord, Projection
from causaldsl.vocabulary.interventions import Patch


@dataclass
class Graph:
    """The operations of a program, and side tables that say what the program calls them.

    ``network`` has an operation under each content key (attribute ``operation``) and an edge, with
    its ``role``, from every operation to those that use it. ``runs`` gives the operation of each
    run of a measurement, ``traces`` of each trace, ``histograms`` of each histogram, ``claims`` of
    each claim, in the program's order; ``fits`` the measures of every learned subspace's effect on
    its training pairs and on the held-out ones. ``tables`` gives the operation of each table,
    ``relative``, by a plot's file, that of the number that it is relative to.
    """

    network: nx.MultiDiGraph = field(default_factory=nx.MultiDiGraph)
    names: dict[str, str] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    pairs: dict[str, PairSet] = field(default_factory=dict)
    measurements: dict[str, str] = field(default_factory=dict)
    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)
    audits: dict[str, str] = field(default_factory=dict)
    claims: list[str] = field(default_factory=list)
    fits: dict[str, dict[str, str]] = field(default_factory=dict)
    histograms: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    relative: dict[str, str] = field(default_factory=dict)

    def operation(self, key: str) -> Operation:
        operation: Operation = self.network.nodes[key]["operation"]
        return operation

    def order(self) -> list[str]:
        """All keys, inputs before their users, and stably so."""
        position = {key: i for i, key in enumerate(self.network.nodes)}
        return list(nx.lexicographical_topological_sort(self.network, key=position.__getitem__))

    def name_of(self, key: str) -> str | None:
        """What the program calls an operation."""
        return next((name for name, known in self.names.items() if known == key), None)


def compile_program(program: CheckedProgram) -> Graph:
    """The graph of everything that the program measures, defines and claims."""
    compiler = _Compiler(program)
    for name, applied in program.named.items():
        compiler.graph.names[name] = compiler.applied(applied)
    for measurement in program.measurements.values():
        compiler.measurement(measurement)
    for table in program.tables.values():
        compiler.table(table)
    for histogram in program.histograms.values():
        compiler.histogram(histogram)
    for trace in program.traces.values():
        compiler.trace(trace)
    for audit in program.audits.values():
        compiler.audit(audit)
    for output in program.outputs:
        if output.relative is not None:
            compiler.graph.relative[output.stem] = compiler.applied(output.relative)
    for claim in program.claims:
        compiler.graph.claims.append(compiler.applied(claim.condition))
    return compiler.graph


class _Compiler:
    def __init__(self, program: CheckedProgram):
        self.graph = Graph()
        self.program = program
        self.model = program.model.shapes.fingerprint if program.model else ""

    def add(self, operation: Operation, span: Span | None) -> str:
        """Put an operation into the graph, if equal work is not there yet."""
        key = operation.key
        if key not in self.graph.network:
            self.graph.network.add_node(key, operation=operation)
            for given in operation.inputs:
                self.graph.network.add_edge(given.key, key, role=given.role)
            if span is not None:
                self.graph.spans[key] = span
        return key

    def applied(self, applied: Applied) -> str:
        """A word with its operands: one operation, after those it is applied to."""
        at: SiteAt | None = None
        to: list[SiteAt] = []
        classes: list[str] = []
        inputs: list[Input] = []
        for role, value in applied.operands:
            if isinstance(value, Place):
                assert value.position is not None
                place = SiteAt(site=value.site, position=value.position)
                if role == "site":
                    at = place
                else:
                    to.append(place)
            elif isinstance(value, ClassName):
                classes.append(value.text)
            elif isinstance(value, PairSet):
                inputs += [
                    Input(role=side, key=self.clean_run(value, side))
                    for side in _sides(applied, value)
                ]
            elif isinstance(value, Applied):
                inputs.append(Input(role=role, key=self.applied(value)))
            elif isinstance(value, Histogram):
                inputs.append(Input(role=role, key=self.histogram(value)))
            elif isinstance(value, CheckedTrace):
                inputs.append(Input(role=role, key=self.trace(value)))
            elif isinstance(value, CheckedAudit):
                inputs.append(Input(role=role, key=self.audit(value)))
            elif isinstance(value, tuple):
                inputs += [Input(role=role, key=self.applied(part)) for part in value]
            else:
                self.measurement(self.program.measurements[value])
                inputs.append(Input(role=role, key=self.graph.measurements[value]))
        operation = Operation(
            word=applied.word,
            at=at,
            classes=tuple(classes),
            to=tuple(to),
            inputs=tuple(inputs),
            model=self.model,
        )
        key = self.add(operation, applied.span)
        if applied.word.learned and key not in self.graph.fits:
            self.fit(key, applied)
        return key

    def fit(self, key: str, applied: Applied) -> None:
        """Patch along a learned subspace on its training pairs, and on the held-out ones if any.

        An effect in training alone is an overfit, so the two stand side by side in the results.
        """
        trained, place = applied.operand("on"), applied.operand("site")
        assert isinstance(trained, PairSet)
        assert isinstance(place, Place)
        parts = {"train": trained}
        for family in self.program.families.values():
            if family.train is trained and family.test is not None:
                parts["test"] = family.test
        self.graph.fits[key] = {}
        for part, pairs in parts.items():
            run = Applied(
                Patch(), (("site", place), ("along", applied)), applied.type, applied.span
            )
            arms = (
                Run("clean", (), "clean", (), applied.span),
                Run("patched", (run,), "patched", (), applied.span),
            )
            metrics = ("fldd", "interchange_accuracy")
            measurement = Measurement("", pairs, arms, metrics, (), applied.span)
            self.graph.fits[key][part] = self.measure(measurement)

    def pair_set(self, pairs: PairSet) -> str:
        key = self.add(pairs_operation(pairs, self.model), None)
        self.graph.pairs.setdefault(key, pairs)
        self.graph.names.setdefault(pairs.name, key)
        return key

    def clean_run(self, pairs: PairSet, side: Side) -> str:
        given = Input(role="pairs", key=self.pair_set(pairs))
        word = CleanRunWord(side=side)
        return self.add(Operation(word=word, inputs=(given,), model=self.model), None)

    def run(self, run: Run, pairs: PairSet) -> str:
        """One arm: the base run, and the interventions that are in force at once."""
        base = self.clean_run(pairs, "base")
        if not run.interventions:
            return base
        word = PatchedRunWord()
        do: list[Input] = []
        for part in run.interventions:
            if isinstance(part, CheckedPath) and part.direct:
                word = PatchedRunWord.model_validate(_policy(part))
                do += self.does(part.sender, pairs)
            elif isinstance(part, CheckedPath):
                do.append(Input(role="do", key=self.path(part, pairs, base)))
            else:
                do += self.does((part,), pairs)
        inputs = (Input(role="base", key=base), *do)
        return self.add(Operation(word=word, inputs=inputs, model=self.model), run.span)

    def does(self, interventions: Sequence[Applied], pairs: PairSet) -> list[Input]:
        return [Input(role="do", key=self.intervention(i, pairs)) for i in interventions]

    def path(self, path: CheckedPath, pairs: PairSet, base: str) -> str:
        """The last hop of a path with receivers; every hop starts from the one before it."""
        do, last = self.does(path.sender, pairs), ""
        for receivers in path.hops:
            operation = Operation(
                word=HopWord.model_validate(_policy(path)),
                to=tuple(_site_at(place) for place in receivers),
                inputs=(Input(role="base", key=base), *do),
                model=self.model,
            )
            last = self.add(operation, path.span)
            do = [Input(role="do", key=last)]
        return last

    def trace(self, trace: CheckedTrace) -> str:
        """A `trace` of the program, under its name; once, when first needed."""
        if trace.name in self.graph.traces:
            return self.graph.traces[trace.name]
        sides = [Input(role=side, key=self.clean_run(trace.pairs, side)) for side in SIDES]
        word = TraceWord(
            metric=trace.metric,
            heads=trace.heads,
            mlps=trace.mlps,
            top=trace.top,
            positions=trace.positions,
        )
        inputs = (*sides, *self.does(trace.interventions, trace.pairs))
        key = self.add(Operation(word=word, inputs=inputs, model=self.model), trace.span)
        self.graph.traces[trace.name] = key
        self.graph.names[trace.name] = key
        return key

    def intervention(self, applied: Applied, pairs: PairSet) -> str:
        """One change of one activation, with the clean run that it takes its values from."""
        place = applied.operand("site")
        assert isinstance(place, Place)
        assert place.position is not None
        # What is not in the model can't be set, only its effect added: a change from the base's.
        taken = {*applied.word.sides, *(["base"] if place.site.is_virtual else [])}
        sides = [side for side in SIDES if side in taken]
        inputs = [Input(role=s, key=self.clean_run(pairs, s)) for s in sides]
        inputs += [
            Input(role=role, key=self.applied(value))
            for role, value in applied.operands
            if isinstance(value, Applied)
        ]
        operation = Operation(
            word=applied.word,
            at=SiteAt(site=place.site, position=place.position),
            inputs=tuple(inputs),
            model=self.model,
        )
        return self.add(operation, applied.span)

    def measurement(self, measurement: Measurement) -> None:
        """A `measure` or `sweep` of the program, under its names; once, when first needed."""
        if measurement.name in self.graph.measurements:
            return
        key = self.measure(measurement)
        for run in measurement.runs:
            self.graph.runs[measurement.name, run.name] = self.run(run, measurement.pairs)
        self.graph.measurements[measurement.name] = key
        self.graph.names[measurement.name] = key

    def table(self, table: Table) -> None:
        """A `table` of the program: the number of every cell."""
        inputs = []
        for arm, cells in table.cells.items():
            for labels, applied in cells.items():
                role = f"{arm}[{labels}]"
                inputs.append(Input(role=role, key=self.applied(applied)))
                self.graph.names.setdefault(f"{table.name}.{role}", inputs[-1].key)
        operation = Operation(word=TableWord(), inputs=tuple(inputs), model=self.model)
        key = self.add(operation, table.span)
        self.graph.tables[table.name] = self.graph.names[table.name] = key

    def histogram(self, histogram: Histogram) -> str:
        """A `histogram` of the program: the projections of its arms, set by set."""
        if histogram.name not in self.graph.histograms:
            inputs = []
            for arm in histogram.arms:
                for pairs in histogram.sets:
                    inputs += self.projections(arm, pairs, histogram.by == "side")
            word = HistogramWord(by=histogram.by, classes=histogram.classes)
            operation = Operation(word=word, inputs=tuple(inputs), model=self.model)
            key = self.add(operation, histogram.span)
            self.graph.histograms[histogram.name] = self.graph.names[histogram.name] = key
        return self.graph.histograms[histogram.name]

    def projections(self, arm: HistogramArm, pairs: PairSet, sides: bool) -> list[Input]:
        """Projections of the bases, with the arm's interventions, and if asked of the sources."""
        run = Run(arm.name, arm.interventions, arm.label, (), arm.span)
        runs = [self.run(run, pairs), *([self.clean_run(pairs, "source")] if sides else [])]
        assert arm.place.position is not None
        at = SiteAt(site=arm.place.site, position=arm.place.position)
        along = Input(role="along", key=self.applied(arm.along))
        return [
            Input(
                role=arm.name,
                key=self.add(
                    Operation(
                        word=Projection(),
                        at=at,
                        inputs=(Input(role="run", key=key), along),
                        model=self.model,
                    ),
                    arm.span,
                ),
            )
            for key in runs
        ]

    def audit(self, audit: CheckedAudit) -> str:
        """An `audit` of the program, under its name; once, when first needed."""
        if audit.name not in self.graph.audits:
            key = self.graph.audits[audit.name] = compile_audit(self, audit)
            self.graph.names[audit.name] = key
        return self.graph.audits[audit.name]

    def measure(self, measurement: Measurement) -> str:
        keys = [self.run(run, measurement.pairs) for run in measurement.runs]
        operation = Operation(
            word=MeasureWord(metrics=measurement.metrics),
            inputs=tuple(
                Input(role=run.name, key=key)
                for run, key in zip(measurement.runs, keys, strict=True)
            ),
            model=self.model,
        )
        return self.add(operation, measurement.span)


def _policy(path: CheckedPath) -> dict[str, str]:
    return {"freeze": path.freeze, "layernorm": path.layernorm}


def _site_at(place: Place) -> SiteAt:
    assert place.position is not None
    return SiteAt(site=place.site, position=place.position)


def _sides(applied: Applied, pairs: PairSet) -> tuple[Side, ...]:
    """The sides of pairs that a word reads; prompts without answers have only one."""
    return ("base",) if isinstance(pairs, PromptSet) else applied.word.sides
