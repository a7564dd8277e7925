"""The pages of docs/experiments and the README's numbers, from the results of runs.

    python docs/make_experiments.py [RUN_FOLDER...]

Takes the results of these runs into docs/experiments/measured and their pictures into docs/images,
then writes every page anew from its template. A template has `{{...}}` where a number of ours
belongs; a page is its template with these filled in, so none is typed by hand. What stands in the
braces is a way to write a number, and where it is in the results::

    {{mean effects.v_mlp.fldd}}      mean, of a measure
    {{ci effects.v_mlp.fldd}}        mean [low, high]
    {{cells growth.fldd k=1}}        mean (lowest to highest) over the cells of a sweep or table
    {{number share}}                 of a `let`
    {{class written.clean.same}}     mean [low, high], of a histogram
    {{centre hidden.h1.up}}          mean of a histogram's class
    {{d apart.v}}                    Cohen's d of its two classes, its size
    {{norm row_part}}                length of a subspace
    {{evidence of_v active part}}    of an audit; {{verdict of_v}}
    {{shown of_v clip}}              mean [low, high], of an audit's evidence
    {{detail of_v clip: effect}}     of a detail of it
    {{stable of_v}}                  how many variations give the same verdict
    {{differs of_v}}                 those that do not, with theirs
    {{program}}                      its text
    {{n effects}} {{param layer}}    how many pairs; a param
    {{sd recovered.r2}}              standard deviation over the cells of a sweep or table
    {{rows recovered.r2}}            how many rows its probes had, and of them to train on
    {{notes still falling}}          how many notes of the run say this
    {{command}}                      what to type for these results
    {{held}}                         how many claims held, and the texts of those that did not
    {{several GPT-2 names}}          which words of a lexicon are several tokens
    {{words GPT-2 names}}            how many it has

`{{PROGRAM: ...}}` asks the results of another program than the one the page is named after (with
another `--seed`: `{{PROGRAM_seed1: ...}}`), and
`{{.3 ...}}` for three decimals, where two are usual.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = ROOT / "docs/experiments"
MEASURED, TEMPLATES = HERE / "measured", HERE / "templates"
SECTIONS = {
    "front": (ROOT / "README.md", "## What was measured\n", "\nOne DAS training step"),
    "audited": (ROOT / "docs/audit.md", "## Measured: SmolLM2\n", "\n## What it costs\n"),
}
"""Templates that fill a section of a page, which begins and ends so."""
_LEFT_OUT = ("traces", "comparisons", "precision")
"""Of the results: large, and not written about."""
PICTURES = {
    "das_by_neurons": {"growth": "das_by_neurons"},
    "mlp_in_the_middle": {"effects": "effects"},
    "null_and_row": {"apart": "null_and_row"},
    "output_distribution": {"written": "output_distribution"},
    "position_direction": {"through": "position_direction"},
    "random_mlp": {"control": "random_mlp"},
    "recoverability": {"told": "recoverability"},
    "two_heads_cancel": {"two_heads": "two_heads_cancel"},
    "units": {"sparse": "units"},
}
"""Of each program, which picture goes into docs/images under which name."""


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        take(folder)
    for path, text in pages().items():
        path.write_text(text, "utf-8")


def take(folder: Path) -> None:
    """Keep the results of a run, less what is large and not written about."""
    results = json.loads((folder / "results.json").read_text("utf-8"))
    for part in _LEFT_OUT:
        results.pop(part)
    for histogram in results["histograms"].values():
        histogram.pop("edges")
        for arm in histogram["arms"].values():
            for one in arm["classes"].values():
                one.pop("counts")
    arms = {name.partition("[")[0]: name for name in reversed(results["probes"])}
    results["probes"] = {name: results["probes"][name] for name in arms.values()}
    name = Path(results["program"]).stem
    if seed := results["provenance"]["seed"]:
        name += f"_seed{seed}"
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (MEASURED / f"{name}.json").write_text(text + "\n", "utf-8")
    for picture, wanted in PICTURES.get(name, {}).items():
        shutil.copy(folder / f"{picture}.svg", ROOT / f"docs/images/{wanted}.svg")


def pages() -> dict[Path, str]:
    """Every page, as its template and the results make it."""
    found = {}
    for template in sorted(TEMPLATES.glob("*.md")):
        text = filled(template.read_text("utf-8"), template.stem)
        if template.stem not in SECTIONS:
            found[HERE / template.name] = text
            continue
        path, start, end = SECTIONS[template.stem]
        before, _, rest = path.read_text("utf-8").partition(start)
        found[path] = before + start + text + end + rest.partition(end)[2]
    return found


def filled(template: str, program: str) -> str:
    """A template with its numbers."""

    def number(match: re.Match[str]) -> str:
        asked = match[1]
        other = re.match(r"(\w+): ", asked)
        results = measured(other[1] if other else program)
        asked = asked[other.end() :] if other else asked
        places = re.match(r"\.(\d) ", asked)
        asked = asked[places.end() :] if places else asked
        way, _, where = asked.partition(" ")
        try:
            return _WAYS[way](results, where, int(places[1]) if places else 2)
        except (KeyError, StopIteration):
            raise KeyError(f"{match[0]} is not in what was measured") from None

    return re.sub(r"\{\{(.+?)\}\}", number, template)


def measured(program: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MEASURED / f"{program}.json").read_text("utf-8"))
    return found


def _plain(value: float, places: int) -> str:
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _interval(found: dict[str, Any], places: int) -> str:
    mean, low, high = (_plain(found[key], places) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _measure(results: dict[str, Any], where: str) -> dict[str, Any]:
    name, arm, metric = _measured_parts(where)
    found: dict[str, Any] = results["measures"][name][arm][metric]
    return found


def _measured_parts(where: str) -> tuple[str, str, str]:
    """A measure, its arm and the metric: of `s.a[23.0].fldd`, the arm is `a[23.0]`."""
    name = re.match(r"\w+", where)
    assert name is not None
    rest = where[name.end() :].removeprefix(".")
    arm, _, metric = rest.rpartition(".")
    return name[0], arm, metric


def _cells(results: dict[str, Any], where: str, places: int) -> str:
    """Over the cells of `sweep.fldd`, `sweep.arm.fldd` or `table.arm`, or some: `k=1`."""
    path, _, wanted = where.partition(" ")
    only = dict(one.split("=") for one in wanted.split())
    values = [v for at, v in _all_cells(results, path) if only.items() <= at.items()]
    mean, low, high = (
        _plain(v, places) for v in (sum(values) / len(values), min(values), max(values))
    )
    return f"{mean} ({low} to {high})"


def _all_cells(results: dict[str, Any], path: str) -> list[tuple[dict[str, str], float]]:
    name, *rest = path.split(".")
    if name in results["tables"]:
        table = results["tables"][name]
        cells = table["cells"][rest[0]].items()
        return [(_at(table["axes"], cell), value) for cell, value in cells]
    sweep, arm = results["sweeps"][name], rest[0] if len(rest) == 2 else ""
    found = []
    for label, metrics in results["measures"][name].items():
        head, _, cell = label.removesuffix("]").rpartition("[")
        if head == arm and label != "clean":
            found.append((_at(sweep["axes"], cell), metrics[rest[-1]]["mean"]))
    return found


def _at(axes: dict[str, list[str]], cell: str) -> dict[str, str]:
    """The value of each axis in a cell, whose name joins them with dots (0.01 has one too)."""
    found = {}
    for axis, values in axes.items():
        here = max((v for v in values if f"{cell}.".startswith(f"{v}.")), key=len)
        found[axis], cell = here, cell[len(here) + 1 :]
    return found


def _class(results: dict[str, Any], where: str, places: int) -> str:
    return _interval(_one_class(results, where), places)


def _one_class(results: dict[str, Any], where: str) -> dict[str, Any]:
    name, arm, one = where.split(".")
    found: dict[str, Any] = results["histograms"][name]["arms"][arm]["classes"][one]
    return found


def _rows(results: dict[str, Any], where: str, places: int) -> str:
    """How many rows the probes of an arm of a table had, and of them to train on."""
    probe = next(p for name, p in results["probes"].items() if name.startswith(f"{where}["))
    return f"{probe['n_train'] + probe['n_test']:,}, of which {probe['n_train']:,}"


def _d(results: dict[str, Any], where: str, places: int) -> str:
    name, arm = where.split(".")
    return _plain(abs(results["histograms"][name]["arms"][arm]["d"]), places)


def _held(results: dict[str, Any]) -> str:
    """How many claims held; behind that, those that did not."""
    claims = results["expectations"]
    others = [f"`{c['text']}` {c['verdict']}" for c in claims if c["verdict"] != "held"]
    return "; ".join([f"{len(claims) - len(others)} of {len(claims)}", *others])


def _command(results: dict[str, Any]) -> str:
    """The command that gives these results, with the params that are not the program's own."""
    texts = [results["provenance"]["program_text"], (ROOT / "programs/ioi.cpatch").read_text()]
    own = {n: float(v) for t in texts for n, v in re.findall(r"^param (\w+) = ([\d.]+)", t, re.M)}
    others = {n: v for n, v in results["params"].items() if v != own[n]}
    changed = "".join(f" --set {name}={value:g}" for name, value in others.items())
    return f"causaldsl run programs/{results['program']}{changed}"


def _words(results: dict[str, Any], where: str) -> dict[str, Any]:
    model, _, lexicon = where.rpartition(" ")
    found: dict[str, Any] = results[model][lexicon]
    return found


def _evidence(results: dict[str, Any], where: str, places: int) -> str:
    found = _row(results, where)
    return f"{_plain(found['value']['mean'], places)} ({found['points_to']})"


def _row(results: dict[str, Any], where: str) -> dict[str, Any]:
    name, _, evidence = where.partition(" ")
    rows = results["audits"][name]["evidence"]
    found: dict[str, Any] = next(row for row in rows if row["name"] == evidence)
    return found


def _either(found: Any, places: int) -> str:
    """A number with its interval, if it has one that shows."""
    if isinstance(found, float):
        return _plain(found, places)
    text = _interval(found, places)
    ends = {_plain(found[key], places) for key in ("mean", "low", "high")}
    return text if len(ends) > 1 else ends.pop()


def _detail(results: dict[str, Any], where: str, places: int) -> str:
    row, _, detail = where.partition(": ")
    return _either(_row(results, row)["details"][detail], places)


def _stable(results: dict[str, Any], where: str) -> str:
    audit = results["audits"][where]
    said = list(audit["stability"].values())
    return f"{said.count(audit['verdict'])} of {len(said)}"


def _differs(results: dict[str, Any], where: str) -> str:
    audit = results["audits"][where]
    others = {what: v for what, v in audit["stability"].items() if v != audit["verdict"]}
    return "; ".join(f"{what}: {verdict}" for what, verdict in others.items()) or "none"


_WAYS: dict[str, Callable[[dict[str, Any], str, int], str]] = {
    "mean": lambda results, where, places: _plain(_measure(results, where)["mean"], places),
    "ci": lambda results, where, places: _interval(_measure(results, where), places),
    "cells": _cells,
    "number": lambda results, where, places: _plain(results["numbers"][where], places),
    "class": _class,
    "d": _d,
    "norm": lambda results, where, places: _plain(results["subspaces"][where]["norm"], places),
    "evidence": _evidence,
    "shown": lambda results, where, places: _either(_row(results, where)["value"], places),
    "detail": _detail,
    "stable": lambda results, where, places: _stable(results, where),
    "differs": lambda results, where, places: _differs(results, where),
    "program": lambda results, where, places: results["provenance"]["program_text"].rstrip(),
    "verdict": lambda results, where, places: str(results["audits"][where]["verdict"]),
    "param": lambda results, where, places: f"{results['params'][where]:g}",
    "centre": lambda results, where, places: _plain(_one_class(results, where)["mean"], places),
    "sd": lambda results, where, places: _plain(
        statistics.stdev(value for _, value in _all_cells(results, where)), places
    ),
    "rows": _rows,
    "notes": lambda results, where, places: str(sum(where in note for note in results["notes"])),
    "held": lambda results, where, places: _held(results),
    "n": lambda results, where, places: str(
        next(iter(results["measures"][where]["clean"].values()))["n"]
    ),
    "command": lambda results, where, places: _command(results),
    "words": lambda results, where, places: str(_words(results, where)["words"]),
    "several": lambda results, where, places: (
        ", ".join(_words(results, where)["several"]) or "none"
    ),
}

if __name__ == "__main__":
    main()
