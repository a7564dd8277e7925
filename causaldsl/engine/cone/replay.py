"""A training's tail on a GPU, recorded once and replayed as CUDA graphs.

One for losses with their gradient, or two, forward and backward, where something else is wanted.

A tail is some eighty operations a block, each over sooner than the next one can be begun from
Python. A graph begins them all at once. What differs from step to step is copied into tensors of
its own before: the stream, rows, rotations and masks, and for the way back the gradient. All else,
weights and the keys and values of a clean run, is read where it lies, and held, so that its memory
can't become something else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from causaldsl.engine.cone.attention import Past
from causaldsl.engine.cone.window import Geometry

T = TypeVar("T")

MOST = 8
"""Graphs of one training: each has memory of its own."""
Saved = list[Any]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a pass through blocks ``first`` to the last reads: x (A, n, d), and targets (A, n)."""

    first: int
    x: Tensor
    past: Past
    where: Sequence[Geometry]
    targets: Tensor | None = None

    @property
    def key(self) -> Hashable:
        """Equal for passes that differ in values only."""
        past, rows = self.past, self.past.rows
        taken = rows.shape if isinstance(rows, Tensor) else (rows.start, rows.stop)
        shapes = tuple(part.shape for part in self.changing())
        masks = tuple(one.past_masked is None for one in self.where)
        return self.first, id(past.keys), taken, past.left, shapes, masks, self.targets is None

    def changing(self) -> list[Tensor]:
        """What differs from step to step."""
        rows = [self.past.rows] if isinstance(self.past.rows, Tensor) else []
        targets = [] if self.targets is None else [self.targets]
        return [self.x.detach(), *rows, *targets, *_parts(self.where)]

    def reading(self, changing: Sequence[Tensor]) -> Inputs:
        """The same with these in place of what differs."""
        own = iter(changing)
        x, past, targets = next(own), self.past, self.targets
        if isinstance(past.rows, Tensor):
            past = replace(past, rows=next(own))
        targets = None if targets is None else next(own)
        return Inputs(self.first, x, past, _with_parts(self.where, own), targets)


class Blocks(Protocol):
    """What is recorded."""

    def forward(self, inputs: Inputs) -> tuple[Tensor, Saved]:
        """The last block's output for x (A, n, d), and what the way back needs."""
        ...

    def backward(self, first: int, gradient: Tensor, saved: Saved) -> Tensor:
        """dL/dx for the gradient of the output."""
        ...

    def with_gradient(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The losses (A, n), and the gradient of each with respect to its row of x (A, n, d)."""
        ...


R = TypeVar("R", bound="BothWays | LossesToo")


class Replays:
    """The graphs of one training. A shape is recorded when it comes for the second time."""

    def __init__(self, blocks: Blocks):
        self._blocks = blocks
        self._seen: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, Any] = {}

    def both_ways(self, inputs: Inputs) -> BothWays | None:
        """A graph that is free and fits; None if these inputs are to be computed as ever."""
        graph = self._find(BothWays, inputs)
        return None if graph is None or graph.busy else graph

    def with_gradient(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Losses and gradients, replayed if they can be."""
        graph = self._find(LossesToo, inputs)
        return self._blocks.with_gradient(inputs) if graph is None else graph(inputs)

    def _find(self, kind: type[R], inputs: Inputs) -> R | None:
        # The keys of a run that is read from a file are there for one pass.
        if type(inputs.past.keys) is not dict:
            return None
        key = inputs.key
        self._seen[key] += 1
        if key not in self._graphs:
            if self._seen[key] < 2 or len(self._graphs) == MOST:
                return None
            self._graphs[key] = kind(self._blocks, inputs)
        found: R = self._graphs[key]
        return found


def _parts(where: Sequence[Geometry]) -> list[Tensor]:
    """What depends on positions, of all kinds of layers that a tail may have."""
    turns = [table for one in where if one.turn for table in (one.turn.cos, one.turn.sin)]
    return turns + [one.past_masked for one in where if one.past_masked is not None]


def _with_parts(where: Sequence[Geometry], parts: Iterator[Tensor]) -> list[Geometry]:
    """The geometries with these tensors in place of their own."""
    turned = [replace(one, turn=one.turn and one.turn.map(lambda _: next(parts))) for one in where]
    return [
        one if one.past_masked is None else replace(one, past_masked=next(parts)) for one in turned
    ]


def recorded(work: Callable[[], T], pool: Any = None) -> tuple[T, torch.cuda.CUDAGraph]:
    """What some work gives, in memory that a replay of the graph writes again."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        found = work()
    return found, graph


class _Input:
    """A tensor that graphs read, which takes the value of another one."""

    def __init__(self, x: Tensor):
        self.own, self._value = x.clone(), x

    def take(self, x: Tensor) -> None:
        # The value is held, so nothing else can lie where it does.
        if (x.data_ptr(), x.stride()) != (self._value.data_ptr(), self._value.stride()):
            self.own.copy_(x)
            self._value = x


class _Inputs:
    """What the graphs of one shape read. What stays the same is held."""

    def __init__(self, inputs: Inputs):
        self._changing = [_Input(part) for part in inputs.changing()]
        self.read = inputs.reading([part.own for part in self._changing])

    def take(self, inputs: Inputs) -> None:
        for own, part in zip(self._changing, inputs.changing(), strict=True):
            own.take(part)


class LossesToo:
    """Losses and gradients of a tail, for inputs of one shape."""

    @torch.no_grad()
    def __init__(self, blocks: Blocks, inputs: Inputs):
        self._inputs = _Inputs(inputs)
        work = partial(blocks.with_gradient, self._inputs.read)
        work()  # what is made when it is first used is made outside of a graph
        self._found, self._graph = recorded(work)

    def __call__(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        self._inputs.take(inputs)
        self._graph.replay()
        losses, gradient = self._found
        return losses.clone(), gradient.clone()


class BothWays:
    """Both ways of a tail, for inputs of one shape. ``busy`` from forward to backward."""

    @torch.no_grad()
    def __init__(self, blocks: Blocks, inputs: Inputs):
        self.busy, self._inputs = False, _Inputs(inputs)
        self._gradient = _Input(torch.zeros_like(inputs.x))

        def forward() -> tuple[Tensor, Saved]:
            return blocks.forward(self._inputs.read)

        def backward(saved: Saved) -> Tensor:
            return blocks.backward(inputs.first, self._gradient.own, saved)

        backward(forward()[1])  # what is made when it is first used is made outside of a graph
        (self._y, self._saved), self._forward = recorded(forward)
        self._found, self._backward = recorded(
            lambda: backward(list(self._saved)), self._forward.pool()
        )

    def forward(self, inputs: Inputs) -> Tensor:
        self.busy = True
        self._inputs.take(inputs)
        self._forward.replay()
        return self._y.clone()

    def backward(self, gradient: Tensor) -> Tensor:
        self._gradient.take(gradient)
        self._backward.replay()
        self.busy = False
        return self._found.clone()
