"""What changed from one run to another: the program, what it was run with, and what came out."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from causaldsl.results.numbers import Number
from causaldsl.results.records import Results
from causaldsl.studies.runs import read_run

_CHOICES = (
    *("model", "fingerprint", "backend", "device", "dtype", "tf32", "seed", "bootstrap_resamples"),
    *("causaldsl", "torch", "transformers", "transformer_lens", "python", "machine", "threads"),
    "memory",
)


def diff(before: Path, after: Path) -> dict[str, Any]:
    """Everything that differs, as plain data; what is the same is not there.

    `choices`, `params`, `pairs` and `claims` are by name with what they were and are, `numbers`
    have both means and intervals, and `program` is a list of changed lines.
    """
    one, two = read_run(before).results, read_run(after).results
    was, now = one.provenance, two.provenance
    found = {
        "choices": _changed({n: was.get(n) for n in _CHOICES}, {n: now.get(n) for n in _CHOICES}),
        "params": _changed(one.params, two.params),
        "pairs": _changed(was.get("pairs", {}), now.get("pairs", {})),
        "claims": _changed(*({c.text: c.verdict for c in r.expectations} for r in (one, two))),
        "numbers": _numbers(one, two),
        "program": _program(str(was.get("program_text", "")), str(now.get("program_text", ""))),
    }
    return {name: part for name, part in found.items() if part}


def named_numbers(results: Results) -> Iterator[tuple[str, Number]]:
    """Every measured number, as the program writes it; those of subspaces and traces too."""
    for measure, arms in results.measures.items():
        for arm, metrics in arms.items():
            for metric, number in metrics.items():
                dot = "" if arm.startswith("[") else "."
                yield f"{measure}{dot}{arm}.{metric}", number
    for name, subspace in results.subspaces.items():
        for part, metrics in (subspace.effects or {}).items():
            for metric, number in metrics.items():
                yield f"{name} on {part}: {metric}", number
    for name, trace in results.traces.items():
        yield f"{name}.total", trace.total
        yield f"{name}.explained", trace.explained
    for name, attribution in results.attributions.items():
        if attribution.rank_correlation is not None:
            yield f"{name}.rank_correlation", attribution.rank_correlation


def shown(number: Number | None) -> str:
    """A number with its interval."""
    if number is None or math.isnan(number.mean):
        return "none"
    return f"{number.mean:.4g} [{number.low:.4g}, {number.high:.4g}]"


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def _numbers(one: Results, two: Results) -> dict[str, Any]:
    """Those that differ, or that one of the runs has not; ``apart`` if their intervals are."""
    before, after = dict(named_numbers(one)), dict(named_numbers(two))
    found = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if _plain(old) == _plain(new):
            continue
        apart = old and new and (old.high < new.low or new.high < old.low)
        found[name] = {"before": _plain(old), "after": _plain(new), "apart": bool(apart)}
    return found


def _plain(number: Number | None) -> Any:
    return None if number is None else json.loads(number.model_dump_json())


def _program(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return list(lines)[2:]
