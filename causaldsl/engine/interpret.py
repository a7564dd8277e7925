"""Runs a graph and gathers what it found."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from causaldsl.check.checked import CheckedProgram, Output
from causaldsl.check.values import CheckedTrace, Histogram
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluator_of, together
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.tracing.data import comparison_data, trace_data
from causaldsl.engine.words.histograms import HistogramValue
from causaldsl.graph.graph import Graph
from causaldsl.version import VERSION
from causaldsl.vocabulary.traces import RankCorrelation


def interpret(session: Session) -> None:
    """Evaluate every operation of the session's graph, in the order of its plan.

    Raises:
        RunFailure: where the run can't go on.
    """
    try:
        for keys in session.plan.order:
            session.progress(_doing(session.graph, keys), 0, 0)
            session.keep(keys, _evaluate(session, keys))
    finally:
        session.close()


def _evaluate(session: Session, keys: Sequence[str]) -> list[Any]:
    """The values of operations that go together; their inputs have been evaluated before."""
    operations = [session.graph.operation(key) for key in keys]
    word = type(operations[0].word)
    evaluator = evaluator_of(word)
    if evaluator is None:
        return together(word)(session, operations)
    return [evaluator(Here(session, operation)) for operation in operations]


def _doing(graph: Graph, keys: Sequence[str]) -> str:
    word, name = graph.operation(keys[0]).word.word, graph.name_of(keys[0])
    if len(keys) > 1:
        return f"{word}, {len(keys)} together"
    return f"{word} {name}" if name else word


def gather(program: CheckedProgram, session: Session, started: float) -> dict[str, Any]:
    """The fields of :class:`causaldsl.results.records.Results`, as plain data."""
    graph = session.graph
    measures = {
        name: _table(session.values[made.key]) for name, made in graph.of_kind("measure").items()
    }
    sweeps = {
        m.name: {
            "axes": {axis.name: list(axis.labels) for axis in m.axes},
            "shown": {axis.name: list(axis.shown) for axis in m.axes if axis.shown},
            "arms": list(dict.fromkeys(r.name.partition("[")[0] for r in m.runs if r.coordinates)),
        }
        for m in program.measurements.values()
        if m.axes
    }
    values = {name: session.values[graph.key_of(name)] for name in program.named}
    expectations = []
    for claim, key in zip(program.claims, graph.keys("claim"), strict=True):
        verdict = session.values[key]
        expectations.append({"text": claim.text, "place": claim.span.place, **asdict(verdict)})
    return {
        "program": program.path.name,
        "params": program.params,
        "measures": measures,
        "arms": _arms(program),
        "sweeps": sweeps,
        "tables": {
            table.name: {
                "axes": {axis.name: list(axis.labels) for axis in table.axes},
                "cells": {
                    arm: {
                        cell: session.values[graph.key_of(table.name)][f"{arm}[{cell}]"]
                        for cell in cells
                    }
                    for arm, cells in table.cells.items()
                },
            }
            for table in program.tables.values()
        },
        "plots": {
            output.stem: {
                "target": output.target,
                "by": output.by,
                "relative": _relative(session, output),
                "relative_to": output.relative_to,
                "metric": output.metric,
            }
            for output in program.outputs
            if output.kind == "plot"
        },
        "probes": {
            graph.name_of(key) or f"{details['made']} {key}": details
            for key, details in session.probes.items()
        },
        "histograms": {
            name: _histogram(histogram, session.values[graph.key_of(name)])
            for name, histogram in program.histograms.items()
        },
        "numbers": {n: v for n, v in values.items() if isinstance(v, float)},
        "subspaces": {
            n: _subspace(session, graph, graph.key_of(n), v)
            for n, v in values.items()
            if isinstance(v, SubspaceValue)
        },
        "expectations": expectations,
        "audits": {name: _audit(program, session, name) for name in program.audits},
        "traces": {
            name: trace_data(trace, session.values[graph.key_of(name)])
            for name, trace in program.traces.items()
        },
        "comparisons": _comparisons(program, session),
        "precision": None if session.precision is None else asdict(session.precision),
        "notes": session.notes,
        "timings": {"run_seconds": round(time.perf_counter() - started, 3)},
        "provenance": _provenance(program, session),
    }


def _arms(program: CheckedProgram) -> dict[str, dict[str, str]]:
    """What the arms do, by their names; the cells of a sweep do the same with other values."""
    return {
        m.name: {run.name.partition("[")[0]: run.label for run in m.runs}
        for m in program.measurements.values()
    }


def _audit(program: CheckedProgram, session: Session, name: str) -> dict[str, Any]:
    audit = program.audits[name]
    about = {"audited": audit.text, "site": str(audit.place), "pairs": audit.pairs.name}
    return {**about, "n": len(audit.pairs), **session.values[session.graph.key_of(name)]}


def subspace_tensors(program: CheckedProgram, session: Session) -> dict[str, dict[str, Any]]:
    """The tensors to save of every named subspace: its basis, and the vectors as they were made."""
    found = {}
    for name in program.named:
        value = session.values[session.graph.key_of(name)]
        if isinstance(value, SubspaceValue):
            tensors = {"basis": value.basis, "vectors": value.vectors}
            found[name] = {k: t.contiguous().cpu() for k, t in tensors.items()}
    return found


def _comparisons(program: CheckedProgram, session: Session) -> dict[str, Any]:
    """Every named rank correlation of two traces, with what was correlated."""
    found = {}
    for name, applied in program.named.items():
        if isinstance(applied.word, RankCorrelation):
            sides = [applied.operand(side) for side in ("left", "right")]
            traces = [side for side in sides if isinstance(side, CheckedTrace)]
            left, right = ((t.name, session.values[session.graph.key_of(t.name)]) for t in traces)
            rho = session.values[session.graph.key_of(name)]
            found[name] = comparison_data(left, right, rho)
    return found


def _table(table: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    return {arm: _asdict_table(metrics) for arm, metrics in table.items()}


def _relative(session: Session, output: Output) -> float | None:
    """The number that a plot's numbers are divided by."""
    if output.relative is None:
        return None
    value = float(session.values[session.graph.key_of(f"plot {output.stem}")])
    if value == 0:
        raise RunFailure(f"the plot of {output.target} is relative to a number that is 0")
    return value


def _histogram(histogram: Histogram, value: HistogramValue) -> dict[str, Any]:
    found = asdict(value)
    for arm in histogram.arms:
        found["arms"][arm.name]["label"] = arm.label
    return found


def _subspace(session: Session, graph: Graph, key: str, value: SubspaceValue) -> dict[str, Any]:
    fit = graph.made.get(f"fit of {key}")
    effects = {
        part: _asdict_table(session.values[measure]["patched"])
        for part, measure in (fit.parts if fit else {}).items()
    }
    return {
        "made": graph.operation(key).label,
        "width": value.vectors.shape[0],
        "rank": value.rank,
        "norm": float(value.vectors.norm()),
        "losses": session.training.get(key),
        "neurons": _support(value),
        "effects": effects or None,
    }


def _support(value: SubspaceValue) -> list[int] | None:
    """Indices of the coordinates that are not 0 throughout, if some are."""
    used = value.vectors.abs().amax(1) > 0
    return None if used.all() or not used.any() else used.nonzero()[:, 0].tolist()


def _asdict_table(metrics: dict[str, Estimate]) -> dict[str, Any]:
    return {metric: asdict(value) for metric, value in metrics.items()}


def _provenance(program: CheckedProgram, session: Session) -> dict[str, Any]:
    from importlib.metadata import version

    spec = session.loaded.spec
    return {
        "causaldsl": VERSION,
        "model": spec.name,
        "fingerprint": spec.shapes.fingerprint,
        "backend": session.backend_for([]),
        **{name: getattr(session.settings, name) for name in ("device", "dtype", "tf32", "seed")},
        "bootstrap_resamples": session.settings.resamples,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "transformers": version("transformers"),
        "transformer_lens": version("transformer-lens"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "pairs": {
            pairs.name: {"n": len(pairs), "digest": pairs.digest}
            for pairs in session.graph.pairs.values()
        },
        **({"packages": program.packages} if program.packages else {}),
        "program_text": program.source.text,
    }
