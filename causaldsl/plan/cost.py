"""What a program costs before anything is loaded: reckoned from its plan and a machine's profile.

Beside its passes (``seconds.py``) a run starts, reads the weights, fits probes, evaluates its
operations and draws its pictures. Memory is what a process takes at its largest: the process
itself, the weights (and, while a subspace is trained, copies of those above it), what clean runs
keep, the pass in progress (``holding.py``), and what stays of dictionaries and attributions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from causaldsl.diagnostics import Mistake
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.chunks import CONE_TOKENS, VOCABULARY_ROWS
from causaldsl.plan.holding import estimates_of, of_block, of_dictionaries, of_passes
from causaldsl.plan.keeping import kept_runs, most_kept
from causaldsl.plan.machine import Machine
from causaldsl.plan.memory import BYTES, room
from causaldsl.plan.planner import Plan
from causaldsl.plan.printing import size_text
from causaldsl.plan.readings import worth_keeping
from causaldsl.plan.seconds import SHARE, seconds_of
from causaldsl.plan.settings import Settings
from causaldsl.plan.work import Work, work_of
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.generation import GenerateWord
from causaldsl.vocabulary.probes import Probe
from causaldsl.vocabulary.types import NumberType, SiteType, SubspaceType

_OPERATION = 0.005
"""Seconds for the numbers of an operation: draws, intervals, records."""
_PICTURE = 0.3
"""Seconds for a picture."""
_PACKED = 640 * 2**20
"""Bytes of copies that a training lays out at most (``engine/cone/packing.py``)."""
_RECORD = 600
"""Bytes around the numbers of a value in the store, where some are in a record together."""
_TOKEN = 12
"""Bytes of a token that was written: its number, and its part of the text."""


@dataclass(frozen=True)
class Cost:
    """What a run takes: ``seconds`` and ``memory`` by what they go to.

    ``stored`` are bytes that the store gains. What is there already costs nothing, and is not
    known here.
    """

    machine: Machine
    passes: int
    flops: int
    seconds: dict[str, float]
    memory: dict[str, int]
    stored: int

    @property
    def time(self) -> float:
        return sum(self.seconds.values())

    @property
    def most(self) -> int:
        return sum(self.memory.values())


def cost_of(
    graph: Graph,
    plan: Plan,
    shapes: ModelDims,
    machine: Machine,
    weights: int,
    dtype: str,
    budget: int,
    pictures: int = 0,
) -> Cost:
    """The cost of a run of a model of ``weights`` weights, with ``budget`` bytes for clean runs."""
    works = work_of(graph, plan, shapes)
    size = weights * BYTES[dtype]
    seconds = {"start": machine.start + size / machine.read}
    for work in works:
        kind = _kind(work)
        seconds[kind] = seconds.get(kind, 0.0) + seconds_of(graph, work, shapes, machine)
    if probing := _probing(graph, shapes):
        seconds["probes"] = probing / (SHARE * machine.rate(1))
    operations = len(graph.network)
    seconds["numbers and pictures"] = _OPERATION * operations + _PICTURE * pictures
    runs = kept_runs(graph, plan, shapes, dtype) if shapes.text else []
    memory = {"process": machine.base, "weights": size}
    memory["clean runs"] = min(most_kept(runs)[0], room(budget))
    memory["passes"] = 0
    if shapes.text:
        held = of_passes(graph, plan, shapes, dtype, budget)
        memory["passes"] = _working(shapes, works, dtype) + held
    memory["dictionaries"] = of_dictionaries(graph, dtype)
    found = [one for key in graph.network if _is_attribution(one := graph.operation(key))]
    memory["estimates"] = sum(estimates_of(graph, one, shapes) for one in found)
    passes = round(sum(one.times for work in works for one in work.passes))
    flops = sum(work.flops for work in works)
    stored = _stored(graph, plan, shapes)
    for run in plan.needs:
        stored += sum(worth_keeping(graph, plan, shapes, machine, dtype, run).values())
    return Cost(machine, passes, flops, seconds, memory, stored)


def _kind(work: Work) -> str:
    if work.epochs:
        return "training"
    return "clean runs" if work.kind.startswith("clean") else "changed runs"


def _is_attribution(operation: Operation) -> bool:
    return isinstance(operation.word, AttributionWord)


def _probing(graph: Graph, shapes: ModelDims) -> int:
    """Floating-point operations of all fits of probes."""
    total, seen = 0, set()
    for operation in map(graph.operation, graph.network):
        word, at = operation.word, operation.at
        if not isinstance(word, Probe) or at is None:
            continue
        base = operation.input("base")
        every = at.position.count(graph.prompts_of(base))
        rows = round((1 - word.held_out) * every)
        total += word.fit_flops(rows, at.site.width(shapes) or 0)
        inputs = (base, str(at), word.held_out, word.seed)
        if inputs not in seen:
            seen.add(inputs)
            total += word.shared_flops(rows)
    return total


def _working(shapes: ModelDims, works: list[Work], dtype: str) -> int:
    """What a block of the largest pass holds at a time, and what is laid out for a training."""
    number = BYTES[dtype]
    longest = max((one.window for work in works for one in work.passes), default=1)
    wide = CONE_TOKENS * of_block(shapes, longest) * number
    vocabulary = any(one.columns is None for work in works for one in work.passes)
    logits = 2 * VOCABULARY_ROWS * shapes.d_vocab * number if vocabulary else 0
    return wide + logits + (_PACKED if any(work.epochs for work in works) else 0)


def _stored(graph: Graph, plan: Plan, shapes: ModelDims) -> int:
    """Numbers by pair of runs, vectors of subspaces, estimates, texts, and what is around them."""
    total = 0
    for key, one in plan.asked.items():
        operation = graph.operation(key)
        word = operation.word
        if isinstance(word, AttributionWord):
            total += _RECORD + estimates_of(graph, operation, shapes)
        elif isinstance(word, GenerateWord):
            prompts = graph.prompts_of(operation.input("base"))
            total += _RECORD + _TOKEN * word.tokens * len(prompts)
        elif key in plan.outcomes and (one.requests or operation.word.word == "clean_run"):
            pairs = len(graph.prompts_of(operation.find("base") or key))
            total += _RECORD + pairs * BYTES["float64"] * (1 + len(plan.outcomes[key]))
        elif one.records or one.requests:
            total += _RECORD + _numbers(operation, shapes) * BYTES["float64"]
    return total


def _numbers(operation: Operation, shapes: ModelDims) -> int:
    """How many numbers a value has: vectors, or both ends of draws over pairs and templates.

    Operands are taken to be sites, and directions there.
    """
    width = 0 if operation.at is None else operation.at.site.width(shapes) or 0
    kinds = {"site": SiteType(width), "subspace": SubspaceType(width, 1), "number": NumberType()}
    types = {operand.name: kinds.get(operand.kind) for operand in operation.word.operands}
    try:
        given = operation.word.result(types)
    except (LookupError, AttributeError, NotImplementedError, Mistake):
        return width
    if isinstance(given, SubspaceType):
        fitted = operation.word.training(width) is not None
        return (1 + fitted) * width * (given.rank or 1)
    return 4 * Settings().resamples if isinstance(given, NumberType) else 0


def cost_text(cost: Cost) -> str:
    """A cost, for people."""
    machine = cost.machine
    when = f"measured {machine.measured}" if machine.measured else "assumed"
    lines = [
        f"on {machine.name}, {machine.threads} threads ({when})",
        f"passes      {cost.passes:,}",
        f"operations  {cost.flops / 1e9:,.1f} GFLOPs",
        f"time        about {time_text(cost.time)}: {_parts(cost.seconds, time_text)}",
        f"memory      about {size_text(cost.most)}: {_parts(cost.memory, size_text)}",
        f"store       about {size_text(cost.stored)}",
    ]
    if not machine.measured:
        lines.append("`causaldsl calibrate` measures this machine, in about a minute")
    return "\n".join(lines)


def time_text(seconds: float) -> str:
    """A time for people, to what an estimate is good for: 8 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _parts(amounts: Mapping[str, float], text: Callable[[float], str]) -> str:
    return ", ".join(f"{name} {text(amount)}" for name, amount in amounts.items() if amount)
