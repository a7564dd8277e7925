"""The plan as text, the same for the same program every time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import PatchedRunWord, SiteAt
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.chunks import COMPARED_PAIRS, COMPARED_RUNS
from causaldsl.plan.entries import Entry, Stage, entry_of
from causaldsl.plan.keeping import KeptRun, kept_runs, most_kept
from causaldsl.plan.memory import BYTES, room, window_of
from causaldsl.plan.names import listed, names_of
from causaldsl.plan.planner import Plan
from causaldsl.plan.work import Work, work_of

_STAGES = {Stage.INPUT: "", Stage.MID: " mid", Stage.HIDDEN: " neurons"}
_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_LEGEND = """\
A pass goes through the blocks from the one named, over the last positions of every prompt (window),
for rows = arms x prompts. whole: the same with hooks around whole forward passes.
"""
_AGAIN = (
    "To tell what bfloat16 does to the numbers, up to "
    f"{COMPARED_RUNS} changed runs and the clean ones are made again, on the first "
    f"{COMPARED_PAIRS} pairs, in bfloat16 and in float32.\n"
)
_TOY = "A toy model is run whole, one operation at a time.\n"


def plan_text(
    graph: Graph,
    plan: Plan,
    shapes: ModelDims,
    budget: int,
    weights: int | None = None,
    dtype: str = "float32",
) -> str:
    """What is run, in which order, with how much arithmetic, and what is kept meanwhile.

    ``budget`` is in bytes; ``weights`` is how many the model has, if that is known.
    """
    works = work_of(graph, plan, shapes)
    runs = kept_runs(graph, plan, shapes, dtype)
    if not shapes.text:
        return "\n".join([_model(shapes, None, dtype), _TOY, _toy_passes(works, names_of(graph))])
    number: dict[str, int] = {}
    for i, work in enumerate(works, 1):
        for key in work.members:
            number.setdefault(key, i)  # a clean run on both backends: the cone's comes first
    parts = [_model(shapes, weights, dtype), _LEGEND, _passes(works, shapes, names_of(graph))]
    parts += [_prefixes(works)] if any(work.shared for work in works) else []
    parts += [_on_workers(graph, works)]
    if runs:
        parts += [_kept(graph, plan, shapes, runs, number), _budget(runs, number, budget)]
    if dtype == "bfloat16":
        parts.append(_AGAIN)
    return "\n".join(parts)


def _model(shapes: ModelDims, weights: int | None, dtype: str) -> str:
    text = f"model {shapes.name}: {shapes.architecture}, {_count(shapes.n_layers, 'block')}"
    if weights is not None:
        size = size_text(weights * BYTES[dtype])
        text += f", {weights / 1e6:,.1f} million weights, {size} in {dtype}"
    return text + "\n"


def _passes(works: list[Work], shapes: ModelDims, names: dict[str, str]) -> str:
    flops, whole = sum(w.flops for w in works), sum(w.whole for w in works)
    unit, name = (1e9, "GFLOPs") if whole >= 1e9 else (1e6, "MFLOPs")
    head = ("pass", name, "whole", "from block", "blocks", "window", "rows", "logits", "what")
    rows = [
        (
            str(number),
            _in(unit, work.flops),
            _in(unit, work.whole),
            "hooks" if work.backend == "hooks" else _entries(work, shapes),
            f"{_range(one.blocks for one in work.passes)} of {shapes.n_layers}",
            _range(one.window for one in work.passes),
            _rows(work),
            _logits(work),
            _what(work, names),
        )
        for number, work in enumerate(works, 1)
    ]
    total = ("", _in(unit, flops), _in(unit, whole), *[""] * 5, f"in all: {_times(whole, flops)}")
    return _table([head, *rows, total], right=(0, 1, 2))


def _prefixes(works: list[Work]) -> str:
    """What is computed once for several prompts, and what that saves."""
    shared = [work.shared for work in works if work.shared is not None]
    saved, rest = sum(one.saved for one in shared), sum(work.flops for work in works)
    unit, name = (1e9, "GFLOPs") if saved >= 1e9 else (1e6, "MFLOPs")
    lines = [
        f"shared prefixes: what prompts of a clean run begin with alike is computed once, which "
        f"saves {_in(unit, saved)} {name}, {saved / (rest + saved):.0%} of all"
    ]
    lines += [
        f"  pass {number}: {work.shared.computed:,} of {work.shared.tokens:,} tokens"
        for number, work in enumerate(works, 1)
        if work.shared is not None
    ]
    return "\n".join(lines) + "\n"


def _on_workers(graph: Graph, works: list[Work]) -> str:
    """Which passes other processes share, and which one of them makes alone (docs/workers.md)."""
    cut, whole = list[int](), list[int]()
    for number, work in enumerate(works, 1):
        word = graph.operation(work.members[0]).word
        if isinstance(word, PatchedRunWord):
            cut.append(number)
        elif not (word.large or word.passing):
            whole.append(number)
    parts = []
    if cut:
        parts.append(f"{_passes_text(cut)} cut by pairs or arms")
    if whole:
        parts.append(f"{_passes_text(whole)} made whole by one of them")
    return f"on workers: {'; '.join(parts) or 'nothing to share'}\n"


def _passes_text(numbers: list[int]) -> str:
    """Numbers of passes in order, those that follow one another as a range."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    text = ", ".join(f"{a}..{b}" if b > a else f"{a}" for a, b in ranges)
    return f"pass {text} is" if len(numbers) == 1 else f"passes {text} are"


def _toy_passes(works: list[Work], names: dict[str, str]) -> str:
    rows = [(str(n), _rows(work), _what(work, names)) for n, work in enumerate(works, 1)]
    return _table([("pass", "rows", "what"), *rows], right=(0, 1))


def _what(work: Work, names: dict[str, str]) -> str:
    return f"{work.kind}: {listed(names[key] for key in work.members)}{work.note}"


def _entries(work: Work, shapes: ModelDims) -> str:
    entries = [one.entry for one in work.passes]
    first, last = min(entries), max(entries)
    names = [_entry(first, shapes.n_layers)]
    return " to ".join(dict.fromkeys([*names, _entry(last, shapes.n_layers)]))


def _entry(entry: Entry, n_layers: int) -> str:
    if entry.layer < 0:
        return "tokens"
    return "end" if entry.layer == n_layers else f"{entry.layer}{_STAGES[entry.stage]}"


def _rows(work: Work) -> str:
    arms = f"{len(work.passes)} x " if len(work.passes) > 1 else ""
    epochs = f", {_count(work.epochs, 'epoch')}" if work.epochs else ""
    return f"{arms}{work.rows}{epochs}"


def _logits(work: Work) -> str:
    wanted = {one.columns for one in work.passes}
    if None in wanted:
        return "vocabulary"
    return "answer, foil" if max(n or 0 for n in wanted) else "none"


def _kept(
    graph: Graph, plan: Plan, shapes: ModelDims, runs: list[KeptRun], number: dict[str, int]
) -> str:
    head = ("of pass", "until", "size", "prompts", "tokens", "kept")
    last = [
        max(number[key] for group in plan.order[: run.last + 1] for key in group if key in number)
        for run in runs
    ]
    rows = [
        (
            str(number[run.key]),
            str(until),
            size_text(run.kept.total),
            str(run.prompts),
            str(run.tokens),
            _contents(graph, plan, shapes, run),
        )
        for run, until in zip(runs, last, strict=True)
    ]
    return _table([head, *rows], right=(0, 1, 2, 3, 4))


def _contents(graph: Graph, plan: Plan, shapes: ModelDims, run: KeptRun) -> str:
    """The sites that are read, and what edited runs start from."""
    needs, prompts = plan.needs[run.key, "cone"], graph.prompts_of(run.key)
    parts = [f"reads {listed(map(str, needs.reads))}"] if needs.reads else []
    if needs.edits:
        window = _count(window_of(needs.edits, prompts), "position")
        parts.append(f"{_starts(needs.edits, shapes)} over {window}")
    if run.kept.keys_values:
        parts.append(f"keys and values left of it ({size_text(run.kept.keys_values)})")
    if run.kept.held:
        parts.append(f"outputs to hold ({size_text(run.kept.held)})")
    return "; ".join(parts) or "the last position"


def _starts(edits: Iterable[SiteAt], shapes: ModelDims) -> str:
    entries = sorted({entry_of(at.site, shapes.n_layers) for at in edits})
    return f"starts at {listed(_entry(entry, shapes.n_layers) for entry in entries)}"


def _budget(runs: list[KeptRun], number: dict[str, int], budget: int) -> str:
    most, _ = most_kept(runs)
    text = f"memory: clean runs keep at most {size_text(most)} at a time; "
    chunks = [(run, rows) for run in runs if (rows := run.chunk(budget)) is not None]
    may_stay = room(budget)
    if not chunks and most <= may_stay:
        return f"{text}the budget is {size_text(budget)}, so all stays in memory\n"
    text += f"of the budget of {size_text(budget)} they may fill {size_text(may_stay)}"
    if most > may_stay:
        text += f", so up to {size_text(most - may_stay)} go to files"
    lines = [text]
    for run, rows in chunks:
        count = _count(-(-run.prompts // rows), "chunk")
        lines.append(f"  pass {number[run.key]}: {count} of up to {_count(rows, 'prompt')}")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]], right: tuple[int, ...]) -> str:
    """Columns in line; the last is as long as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines) + "\n"


def _range(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]}..{found[-1]}"


def _in(unit: float, flops: int) -> str:
    size = flops / unit
    return f"{size:,.{2 if size < 10 else 1 if size < 100 else 0}f}"


def _times(whole: int, flops: int) -> str:
    return f"whole passes take {whole / flops:.1f} times as much" if flops else "nothing"


def size_text(size: float) -> str:
    """A number of bytes for people: 2.10 GiB."""
    power, name = next(unit for unit in _UNITS if size >= unit[0] or unit[0] == 1024)
    return f"{size / power:,.{1 if size >= 10 * power else 2}f} {name}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
