"""docs/performance.md, its curves, and the figures that other pages quote, from the JSON files.

    python benchmarks/make_performance.py

A page quotes figures in a paragraph of its own, known by its first words, which is written anew. No
number of these pages is typed by hand. What has not been measured yet says so.
"""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from random_models import SHAPES
from tables import (
    COMPARED,
    GPU,
    GROWN,
    LIMITED,
    comparison_rows,
    gpu_rows,
    growth_rows,
    limit_rows,
    seconds,
)
from tables import overhead_lines as overhead

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
PAGE = ROOT / "docs/performance.md"
QUOTING = (ROOT / "README.md", ROOT / "docs/engine.md")
_UNITS = {"pairs": "pairs", "length": "tokens of a prompt", "arms": "arms", "layers": "layers"}

TARGETS: dict[str, dict[str, float]] = {
    "das_step_64": {"TransformerLens": 25},
    "das_step_512": {"TransformerLens": 25},
    "end_sweep": {"TransformerLens": 12},
    "grid_sweep": {"TransformerLens": 3.5},
    "head_sweep": {"TransformerLens": 15},
    "path_scan": {"TransformerLens hooks": 10},
    **{f"das_step_{model}": {"TransformerLens": 15} for model in SHAPES},
}
"""How many times as long as ours the others are wished to take."""


FILES = ("results", "growth", "gpu", "prefixes")


def main() -> None:
    results, growth, gpu, prefixes = (_read(name) for name in FILES)
    PAGE.write_text(page(results, growth, gpu, prefixes), encoding="utf-8")
    for path in QUOTING:
        path.write_text(quoted(path.read_text("utf-8"), results), encoding="utf-8")
    for axis in growth["axes"] if growth else ():
        draw(axis, growth["axes"][axis], ROOT / f"docs/images/growth_{axis}.svg")


def _read(name: str) -> dict[str, Any] | None:
    path = HERE / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def page(
    results: dict[str, Any] | None,
    growth: dict[str, Any] | None,
    gpu: dict[str, Any] | None = None,
    prefixes: dict[str, Any] | None = None,
) -> str:
    """The whole of docs/performance.md."""
    parts = ["# Performance", _INTRODUCTION]
    parts += _compared(results) if results else [f"## Compared\n\n{_NOT_YET.format('bench')}"]
    parts += _grown(growth) if growth else [f"## Growth\n\n{_NOT_YET.format('growth')}"]
    parts += _shared(prefixes) if prefixes else []
    parts += on_gpu(gpu) if gpu else []
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = (
    "For how long things take beside other tools, and why. To know it of a run of your own\n"
    "there is `check --cost` ([scale.md](scale.md)).\n\n"
    "Made by `python benchmarks/make_performance.py` from `benchmarks/results.json` and\n"
    "`benchmarks/growth.json`, which `make bench` and `make growth` write. All sides work on the\n"
    "same prompts with the same token ids, in turn, and the work counts only when their outputs\n"
    "are equal."
)
_NOT_YET = "Not measured yet: `make {}`."


def _compared(results: dict[str, Any]) -> list[str]:
    parts = ["## Compared", _where(results), _HOW]
    parts.append(_list(_about(comparison) for comparison in results["comparisons"]))
    parts.append(_markdown(COMPARED, comparison_rows(results)))
    parts += ["Each run, one process:", _list(_made(results["comparisons"]))]
    missed = _missed(results)
    if missed:
        parts += ["Not reached:", _list(missed)]
    if results["limits"]:
        parts += ["## Against the machine's limit", _LIMIT]
        parts.append(_markdown(LIMITED, limit_rows(results)))
    if results["overhead"]:
        parts += ["## Overhead", _OVERHEAD, _list(overhead(results))]
    return parts


_HOW = (
    "Our side is a program, compiled before and run from nothing on loaded weights, with its\n"
    "clean runs, statistics and intervals. The other sides are what one writes with these tools:\n"
    "the sources' activations cached once, only the hooks that are needed, no gradients where\n"
    "none are wanted; where the module takes it, logits of the last position only. Times are\n"
    "medians of the repetitions after one of warm-up, ratios medians of the single ratios."
)
_LIMIT = (
    "The matrix multiplications of the same work, made by themselves with the model's own weights\n"
    "and row counts, give the rate. The least time is the planner's count of the cone's\n"
    "operations by that rate."
)
_OVERHEAD = (
    "Arithmetic is all time in calls of a backend, in the loss, in backward passes and optimiser\n"
    "steps. Everything else but reading the weights is overhead; it is given with and without the\n"
    "import of torch."
)


def _about(comparison: dict[str, Any]) -> str:
    facts = comparison["facts"]
    ready = f"checked in {seconds(facts['check_s'])}, compiled in {seconds(facts['compile_s'])}"
    return f"`{comparison['name']}`: {comparison['about']} (the program is {ready})"


def _made(comparisons: list[dict[str, Any]]) -> list[str]:
    """What was measured together, and by which command."""
    made: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        by = comparison["date"], comparison["command"]
        made.setdefault(by, []).append(f"`{comparison['name']}`")
    return [f"{date}, `{how}`: {', '.join(names)}" for (date, how), names in made.items()]


def _where(record: dict[str, Any]) -> str:
    machine = record["machine"]
    versions = [f"{name} {version}" for name, version in record.get("versions", {}).items()]
    ran = f"{machine['cpu']}, {machine['cores']} cores, {_threads(record)}"
    software = ", ".join([f"torch {machine['torch']}", *versions])
    return f"{record['model']}  \n{ran}; {software}"


def _missed(results: dict[str, Any]) -> list[str]:
    """What was wished for and not reached, or could not be measured, or was not yet."""
    measured = {comparison["name"] for comparison in results["comparisons"]}
    found = [f"`{name}`: not measured yet" for name in TARGETS if name not in measured]
    for comparison in results["comparisons"]:
        targets = TARGETS.get(comparison["name"], {})
        for side in comparison["sides"]:
            name = f"`{comparison['name']}`, {side['name']}"
            if "error" in side:
                found.append(f"{name}: could not be measured")
            elif side["ratio"] < targets.get(side["name"], 0):
                wished = targets[side["name"]]
                found.append(f"{name}: {side['ratio']:.3g} times ours, wished for {wished:g}")
    found += [
        f"`{limit['name']}`, {limit['about']}: {100 * limit['share']:.0f}% of the machine's rate"
        for limit in results["limits"]
        if limit["share"] < _SHARES.get((limit["name"], limit["about"]), 0)
    ]
    return found + _slow(results)


_SHARES = {("das_step_512", "DAS step"): 0.45, ("das_step_512", "clean run of the bases"): 0.45}
_MOST_OVERHEAD, _LONGEST_START, _SEEDS, _MOST_MEMORY = 0.08, 2.0, 5.0, 1.5e9


def _slow(results: dict[str, Any]) -> list[str]:
    """What takes longer than wished, of our own."""
    found = []
    for comparison in results["comparisons"]:
        ratio = comparison["sides"][1].get("ratio", 0)
        if comparison["name"] == "seeds" and ratio > _SEEDS:
            found.append(f"`seeds`: {ratio:.3g} times one seed, wished for {_SEEDS:g}")
    run = results["overhead"]
    for name, which in (("share", "with"), ("own_share", "without")):
        if run and run[name] > _MOST_OVERHEAD:
            wished = f"wished for {100 * _MOST_OVERHEAD:g}%"
            share = f"{100 * run[name]:.1f}% of {run['program']}"
            found.append(f"overhead {which} the import of torch: {share}, {wished}")
    for name, which in (("start_up", "with"), ("own_start_up", "without")):
        if run and run[name] > _LONGEST_START:
            wished = f"wished for {_LONGEST_START:g} s"
            found.append(f"start-up {which} it: {seconds(run[name])}, {wished}")
    return found


def _grown(growth: dict[str, Any]) -> list[str]:
    parts = ["## Growth", _where(growth)]
    for name, unit in _UNITS.items():
        axis = growth["axes"].get(name)
        if axis is None:
            continue
        # The first column is the axis; the one that says the same is left out.
        same = {"pairs": 1, "length": 2}.get(name)
        rows = [(unit, *GROWN[1:]), *growth_rows(axis)]
        columns, *others = [tuple(c for i, c in enumerate(row) if i != same) for row in rows]
        parts += [
            f"### {unit[0].upper()}{unit[1:]}",
            f"{axis['about'][0].upper()}{axis['about'][1:]} ({axis['date']}, `{axis['command']}`).",
            _markdown(columns, others),
            f"![Time and memory by {unit}](images/growth_{name}.svg)",
        ]
        parts += [
            f"Not reached: {point['more_bytes'] / 1e9:.3g} GB over the model's for "
            f"{point['pairs']:,} pairs, wished for {_MOST_MEMORY / 1e9:g} GB."
            for point in axis["points"]
            if point["more_bytes"] > _MOST_MEMORY
        ]
    return parts


_SHARED = """Clean passes that compute the shared beginnings of prompts once, against the same
without, in turn in one process. CPU seconds of the process on {threads}, since other work ran on
the machine; ratios are medians of those of single pairs of runs. `few_shot`: 64 pairs behind five
equal examples; the others are of `programs/`, trainings and all. By the clock the ratios of
whole runs are {clock}."""


def _shared(found: dict[str, Any]) -> list[str]:
    """What `benchmarks/prefixes.py` measured."""
    rows = []
    for name, record in found["programs"].items():
        medians = [
            seconds(statistics.median(run[part] for run in record["runs"][side]))
            for part in ("clean_cpu", "cpu")
            for side in ("without", "with")
        ]
        ratios = [f"{record[f'{part}_ratio']:.2f}" for part in ("clean_cpu", "cpu")]
        pairs = str(len(record["runs"]["with"]))
        rows.append((f"`{name}`", *medians[:2], ratios[0], *medians[2:], ratios[1], pairs))
    made = [f"{r['date']}, `{r['command']}`" for r in found["programs"].values()]
    head = ("program", "clean passes without", "with", "ratio", "run without", "with", "ratio")
    table = _markdown((*head, "pairs of runs"), rows)
    clock = [f"{r['clock_ratio']:.2f} (`{name}`)" for name, r in found["programs"].items()]
    said = _SHARED.format(threads=_threads(found), clock=" and ".join(clock))
    return ["## Shared prefixes", found["machine"]["cpu"], said, table, _list(dict.fromkeys(made))]


def on_gpu(found: dict[str, Any]) -> list[str]:
    """What `benchmarks/gpu.py` measured."""
    card, ceilings = found["machine"]["device"], found["ceilings"]
    records = [(model, r) for model, rs in found["models"].items() for r in rs]
    parts = ["## On a GPU"]
    parts.append(f"{card}, torch {found['machine']['torch']}, {found['date']}. {_ON_GPU}")
    parts.append(
        f"A large float32 product ran at {ceilings['flops_per_second'] / 1e12:.3g} TFLOP/s, a "
        f"large copy at {ceilings['bytes_per_second'] / 1e12:.3g} TB/s."
    )
    parts.append(_list(f"`{model} {r['name']}`: {r['about']}" for model, r in records))
    parts.append(_markdown(GPU, gpu_rows(found)))
    weak = [
        f"{model} {r['name']}: kernels {100 * r['whole_run']['share']:.0f}% of the time, wished "
        f"for {100 * _KERNELS:g}%"
        for model, r in records
        if model == _LAUNCHES_COUNT and r["whole_run"].get("share", 1) < _KERNELS
    ]
    for model, r in records:
        wished = _ON_GPU_WISHED.get(r["name"], 0)
        weak += [
            f"{model} {r['name']}: {side['ratio']:.3g} times ours, wished for {wished}"
            for side in r["sides"]
            if side["name"] == "TransformerLens" and side["ratio"] < wished
        ]
    parts += ["Not reached:", _list(weak)] if weak else []
    parts += ["Left out:", _list(found["left_out"])] if found["left_out"] else []
    return parts


_ON_GPU = """Random Llamas of the shapes of
SmolLM2-135M, Llama-3.2-1B and Llama-2-7B, in float32 without TF32. Kernels: the time in which the
GPU computed, in a whole run of ours. The limit is the arithmetic at the rate of a large product, or
reading each weight once at the rate of a large copy, whichever takes longer."""
_LAUNCHES_COUNT = "135m"
_KERNELS = 0.7
_ON_GPU_WISHED = {"das_step_64": 30, "head_sweep": 40}
"""How many times as long as ours TransformerLens is wished to take."""


def _list(items: Any) -> str:
    return "\n".join(f"- {item}" for item in items)


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def quoted(text: str, results: dict[str, Any] | None) -> str:
    """A page with its paragraphs of figures written anew; those not measured stay as they are."""
    for comparison in results["comparisons"] if results else ():
        name = comparison["name"]
        if name in _PARAGRAPHS and "error" not in comparison["sides"][1]:
            begin, write = _PARAGRAPHS[name]
            made = textwrap.fill(write(comparison, results), 99, break_on_hyphens=False)
            text = re.sub(
                rf"^{begin}.*?(?=\n\n)", lambda _, made=made: made, text, flags=re.M | re.S
            )
    return text


def _das_step(found: dict[str, Any], results: dict[str, Any]) -> str:
    facts, (ours, theirs, *_) = found["facts"], found["sides"]
    lens = results["versions"]["transformer-lens"]
    return (
        f"One DAS training step (forward, backward, optimiser; {facts['pairs']} pairs of "
        f"{facts['tokens']} tokens, `{facts['site']}`, cross-entropy over the whole vocabulary) "
        f"takes {seconds(ours['seconds'])} with the cone backend and {seconds(theirs['seconds'])} "
        f"with TransformerLens {lens} `fit_das`, {theirs['ratio']:.3g} times as long "
        f"({_spread(found, theirs)}, {_threads(results)}). `make bench` measures this and more: "
        "[docs/performance.md](docs/performance.md)."
    )


def _threads(record: dict[str, Any]) -> str:
    count = record["machine"]["threads"]
    return "one thread" if count == 1 else f"{count} threads"


def _path_scan(found: dict[str, Any], results: dict[str, Any]) -> str:
    facts, (ours, theirs) = found["facts"], found["sides"]
    return (
        f"The path scan, {facts['senders']} heads to the queries of {facts['receivers']} on "
        f"{facts['pairs']} pairs, took {seconds(ours['seconds'])} and "
        f"{seconds(theirs['seconds'])}: {theirs['ratio']:.3g} times as long "
        f"({_spread(found, theirs)})."
    )


def _spread(found: dict[str, Any], side: dict[str, Any]) -> str:
    ratios = side["all_ratios"]
    return (
        f"median of {found['repetitions']}, single ratios from {min(ratios):.3g} to "
        f"{max(ratios):.3g}"
    )


_PARAGRAPHS: dict[str, tuple[str, Callable[[dict[str, Any], Any], str]]] = {
    "das_step_64": ("One DAS training step ", _das_step),
    "path_scan": ("The path scan, ", _path_scan),
}


def draw(name: str, axis: dict[str, Any], path: Path) -> None:
    """Time and memory of an axis's points, as curves."""
    from matplotlib.figure import Figure

    from causaldsl.report.plots import save

    places = [point["at"] for point in axis["points"]]
    curves = {
        "seconds": {
            "whole run": [point["seconds"] for point in axis["points"]],
            "clean runs": [point["clean_s"] for point in axis["points"]],
        },
        "MB over the model's": {"peak": [point["more_bytes"] / 1e6 for point in axis["points"]]},
    }
    figure = Figure(figsize=(7.0, 2.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for (label, lines), panel in zip(curves.items(), panels, strict=True):
        for line, values in lines.items():
            panel.plot(places, values, marker="o", markersize=3, label=line)
        panel.set_xlabel(_UNITS[name], fontsize=8)
        panel.set_ylabel(label, fontsize=8)
        panel.set_ylim(bottom=0)
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", linewidth=0.4, alpha=0.5)
    panels[0].legend(fontsize=7, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    main()
