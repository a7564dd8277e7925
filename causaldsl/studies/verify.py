"""Whether a run gives the same numbers again, from its own folder.

On the machine, with the libraries and the threads of the run, every number must be the same to the
last digit. Elsewhere numbers may differ by the rounding of their precision, no more. Where a run
was made is what its own results.json says, so whoever doubts that asks for all digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causaldsl import api
from causaldsl.plan.settings import Progress
from causaldsl.results.lock import SUFFIX, read_lock
from causaldsl.results.values import FILE, read_values
from causaldsl.studies.runs import compiled_again, files_set, read_run

ROUNDING = {"bfloat16": 3e-2, "float32": 1e-4, "float64": 1e-9}
"""How far numbers may lie apart on another machine, relative to the larger one, or to the largest
of their column: a metric of a measure, and the sides and ends of one claim."""
_HERE = ("python", "machine", "torch", "threads", "transformers", "transformer_lens")
"""What the last digits may depend on, beside the run's own choices."""
_NOT_COMPARED = ("timings", "program", "provenance", "notes")
_PROVENANCE = ("fingerprint", "pairs", "program_text", "seed", "dtype", "bootstrap_resamples")


_Place = tuple[str | int, ...]
_Columns = Mapping[_Place, tuple[_Place, float]]


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


def verify(
    folder: Path,
    model: str | None = None,
    progress: Progress | None = None,
    exact: bool = False,
) -> Verified:
    """Run a run again and compare all its numbers; ``exact`` allows no rounding anywhere.

    Raises:
        Mistake, ProgramError, RunFailure: if it can't be read or run.
    """
    kept, files = read_run(folder), files_set(folder)
    compiled, chosen = compiled_again(folder, model, progress)
    path = folder / f"{compiled.program.path.stem}{SUFFIX}"
    lock = read_lock(path) if path.is_file() else None
    run = api.run_compiled(api.with_weights(compiled, None, progress), chosen, None, progress, lock)
    before, now = (json.loads(r.model_dump_json()) for r in (kept.results, run.results))
    was, here = before["provenance"], now["provenance"]
    elsewhere = [
        f"{name}: {was.get(name)} then, {here.get(name)} now"
        for name in _HERE
        if was.get(name) != here.get(name)
    ]
    elsewhere += [f"from the store: {said}"] if (said := was.get("store")) else []
    allowed = ROUNDING[chosen.dtype] if elsewhere and not exact else 0.0
    for results in (before, now):
        results["provenance"] = {name: results["provenance"].get(name) for name in _PROVENANCE}
        for claim in results["expectations"]:
            claim["place"] = None
        results.update(dict.fromkeys(set(_NOT_COMPARED) - {"provenance"}))
        results["params"] = {n: v for n, v in results["params"].items() if n not in files}
    comparison = _Comparison(allowed)
    comparison.compare("results", before, now, _columns_of(now))
    if (folder / FILE).is_file():
        old, new = (t.to_pydict() for t in (read_values(folder), run.values))
        of = list(zip(new["measure"], new["metric"], strict=True))
        found: dict[_Place, tuple[_Place, float]] = {
            ("value", i): (("values", *names), new["value"][i]) for i, names in enumerate(of)
        }
        comparison.compare(FILE, old, new, found)
    else:
        comparison.wrong.append(f"{FILE} is not there")
    return Verified(comparison.compared, comparison.largest, allowed, comparison.shown(), elsewhere)


class _Comparison:
    """Goes through two trees of plain data at once."""

    _SHOWN = 20

    def __init__(self, allowed: float):
        self.allowed, self.compared, self.largest = allowed, 0, 0.0
        self.wrong: list[str] = []

    def compare(self, at: str, before: Any, now: Any, columns: _Columns) -> None:
        """``columns`` has, for each number of ``now`` by its place, its column and itself."""
        largest: dict[_Place, float] = {}
        for column, number in columns.values():
            if math.isfinite(number):
                largest[column] = max(largest.get(column, 0.0), abs(number))
        for place, old, new in _leaves((), before, now):
            if _is_number(old) and _is_number(new):
                self.compared += 1
                column, _ = columns.get(place, ((), 0.0))
                apart = _apart(old, new, largest.get(column, 0.0))
                self.largest = max(self.largest, apart)
                if apart <= self.allowed:
                    continue
            elif old == new:
                continue
            self.wrong.append(f"{_said(at, place)}: {_short(old)} then, {_short(new)} now")

    def shown(self) -> list[str]:
        hidden = len(self.wrong) - self._SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        return self.wrong[: self._SHOWN] + more


def _leaves(at: _Place, before: Any, now: Any) -> Iterator[tuple[_Place, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _leaves((*at, name), before.get(name), now.get(name))
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        if len(before) != len(now):
            yield (*at, "how many"), len(before), len(now)
            return
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _leaves((*at, number), old, new)
    else:
        yield at, before, now


def _columns_of(results: Any) -> _Columns:
    """For each fraction of results, its column and itself; counts and levels are in none."""
    return {
        place: (_column(place), number)
        for place, number, _ in _leaves((), results, results)
        if isinstance(number, float) and place[-1] != "level"
    }


def _column(place: _Place) -> _Place:
    if place[0] == "measures":
        return (*place[:2], place[3])  # of all arms
    if place[0] == "expectations":
        return place[:2]
    return tuple(part for part in place if isinstance(part, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _apart(old: float, new: float, floor: float) -> float:
    """Their distance relative to the larger of them, or to what is larger still; of two counts
    that differ, infinite."""
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    if isinstance(old, int) and isinstance(new, int):
        return math.inf
    distance = abs(old - new) / max(floor, abs(old), abs(new))
    return distance if math.isfinite(distance) else math.inf


def _said(at: str, place: _Place) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return at + "".join(parts)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
