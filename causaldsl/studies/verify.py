"""Whether a run gives the same numbers again, from its own folder.

On the machine, with the libraries and the threads of the run, every number must be the same to the
last digit. Elsewhere numbers may differ by the rounding of their precision, no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causaldsl import api
from causaldsl.plan.settings import Progress
from causaldsl.results.values import FILE, read_values
from causaldsl.studies.runs import compiled_again, files_set, read_run

ROUNDING = {"bfloat16": 3e-2, "float32": 1e-4, "float64": 1e-9}
"""How far numbers may lie apart on another machine, relative to the larger one or to 1."""
_HERE = ("python", "machine", "torch", "threads", "transformers", "transformer_lens")
"""What the last digits may depend on, beside the run's own choices."""
_NOT_COMPARED = ("timings", "program", "provenance", "notes")
_PROVENANCE = ("fingerprint", "pairs", "program_text", "seed", "dtype", "bootstrap_resamples")


@dataclass(frozen=True)
class Verified:
    """What a second run of a run showed. ``compared`` counts numbers, in results and by pair."""

    compared: int
    largest: float
    """The largest relative distance of two numbers."""
    allowed: float
    wrong: list[str] = field(default_factory=list)
    """What differs, at most so many of each kind."""
    elsewhere: list[str] = field(default_factory=list)
    """Versions and the like that are not those of the run."""

    @property
    def same(self) -> bool:
        return not self.wrong


def verify(folder: Path, model: str | None = None, progress: Progress | None = None) -> Verified:
    """Run a run again and compare all its numbers.

    Raises:
        Mistake, ProgramError, RunFailure: if it can't be read or run.
    """
    kept, files = read_run(folder), files_set(folder)
    compiled, chosen = compiled_again(folder, model, progress)
    run = api.run_compiled(api.with_weights(compiled, None, progress), chosen, None, progress)
    before, now = (json.loads(r.model_dump_json()) for r in (kept.results, run.results))
    was, here = before["provenance"], now["provenance"]
    elsewhere = [
        f"{name}: {was.get(name)} then, {here.get(name)} now"
        for name in _HERE
        if was.get(name) != here.get(name)
    ]
    allowed = ROUNDING[chosen.dtype] if elsewhere else 0.0
    for results in (before, now):
        results["provenance"] = {name: results["provenance"].get(name) for name in _PROVENANCE}
        for claim in results["expectations"]:
            claim["place"] = claim["registered"] = None
        results.update(dict.fromkeys(set(_NOT_COMPARED) - {"provenance"}))
        results["params"] = {n: v for n, v in results["params"].items() if n not in files}
    comparison = _Comparison(allowed)
    comparison.compare("results", before, now)
    if (folder / FILE).is_file():
        old, new = (t.to_pydict() for t in (read_values(folder), run.values))
        comparison.compare(FILE, old, new)
    return Verified(comparison.compared, comparison.largest, allowed, comparison.shown(), elsewhere)


class _Comparison:
    """Goes through two trees of plain data at once."""

    _SHOWN = 20

    def __init__(self, allowed: float):
        self.allowed, self.compared, self.largest = allowed, 0, 0.0
        self.wrong: list[str] = []

    def compare(self, at: str, before: Any, now: Any) -> None:
        for place, old, new in _leaves(at, before, now):
            numbers = isinstance(old, float | int) and isinstance(new, float | int)
            if numbers and not isinstance(old, bool):
                self.compared += 1
                apart = _apart(old, new)
                self.largest = max(self.largest, apart)
                if apart <= self.allowed:
                    continue
            elif old == new:
                continue
            self.wrong.append(f"{place}: {_short(old)} then, {_short(new)} now")

    def shown(self) -> list[str]:
        hidden = len(self.wrong) - self._SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        return self.wrong[: self._SHOWN] + more


def _leaves(at: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _leaves(f"{at}.{name}", before.get(name), now.get(name))
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        if len(before) != len(now):
            yield f"{at}: how many", len(before), len(now)
            return
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _leaves(f"{at}[{number}]", old, new)
    else:
        yield at, before, now


def _apart(old: float, new: float) -> float:
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    distance = abs(old - new) / max(1.0, abs(old), abs(new))
    return distance if math.isfinite(distance) else math.inf


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
