"""A training's tail on a GPU, recorded once and replayed: two CUDA graphs, forward and backward.

A tail is some eighty operations a block, each over sooner than the next one can be begun from
Python. A graph begins them all at once. What differs from step to step is copied into tensors of
its own before: the stream, rows, rotations and masks, and for the way back the gradient. All else,
weights and the keys and values of a clean run, is read where it lies, and held, so that its memory
can't become something else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from causaldsl.engine.cone.attention import Past
from causaldsl.engine.cone.window import Geometry

T = TypeVar("T")

MOST = 8
"""Graphs of one training: each has memory of its own."""
Saved = list[Any]


class Blocks(Protocol):
    """What is recorded: blocks ``first`` to the last, and their way back."""

    def forward(
        self, first: int, x: Tensor, past: Past, where: Sequence[Geometry]
    ) -> tuple[Tensor, Saved]:
        """The output for x (A, n, d), and what the way back needs."""
        ...

    def backward(self, first: int, gradient: Tensor, saved: Saved) -> Tensor:
        """dL/dx for the gradient of the output."""
        ...


class Replays:
    """The graphs of one training. A shape is recorded when it comes for the second time."""

    def __init__(self, blocks: Blocks):
        self._blocks = blocks
        self._seen: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, Recorded] = {}
        self._at_once: int | None = None

    def keep_within(self, at_once: int) -> None:
        """Once memory has run out, and less goes through the model together: no graphs any more."""
        if self._at_once is None:
            self._at_once = at_once
        elif at_once != self._at_once:
            self._graphs.clear()
            self._at_once = 0

    def find(self, first: int, x: Tensor, past: Past, where: Sequence[Geometry]) -> Recorded | None:
        """A graph that is free and fits; None if these inputs are to be computed as ever."""
        if self._at_once == 0 or type(past.keys) is not dict:  # a run read from a file for one pass
            return None
        key = _key(first, x, past, where)
        self._seen[key] += 1
        if key not in self._graphs:
            if self._seen[key] < 2 or len(self._graphs) == MOST:
                return None
            self._graphs[key] = Recorded(self._blocks, first, x, past, where)
        graph = self._graphs[key]
        return None if graph.busy else graph


def _key(first: int, x: Tensor, past: Past, where: Sequence[Geometry]) -> Hashable:
    rows = past.rows.shape if isinstance(past.rows, Tensor) else (past.rows.start, past.rows.stop)
    shapes = tuple(part.shape for part in _parts(where))
    masks = tuple(one.past_masked is None for one in where)
    return first, x.shape, id(past.keys), rows, past.left, shapes, masks


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


class Recorded:
    """Both ways of a tail, for inputs of one shape. ``busy`` from forward to backward."""

    @torch.no_grad()
    def __init__(
        self, blocks: Blocks, first: int, x: Tensor, past: Past, where: Sequence[Geometry]
    ):
        self.busy, self._held = False, past
        self._x, self._gradient = _Input(x.detach()), _Input(torch.zeros_like(x))
        self._rows = _Input(past.rows) if isinstance(past.rows, Tensor) else None
        self._where = [_Input(part) for part in _parts(where)]
        here = _with_parts(where, (part.own for part in self._where))
        rows = past if self._rows is None else replace(past, rows=self._rows.own)

        def forward() -> tuple[Tensor, Saved]:
            return blocks.forward(first, self._x.own, rows, here)

        def backward(saved: Saved) -> Tensor:
            return blocks.backward(first, self._gradient.own, saved)

        backward(forward()[1])  # what is made when it is first used is made outside of a graph
        (self._y, self._saved), self._forward = recorded(forward)
        self._found, self._backward = recorded(
            lambda: backward(list(self._saved)), self._forward.pool()
        )

    def forward(self, x: Tensor, past: Past, where: Sequence[Geometry]) -> Tensor:
        self.busy = True
        self._x.take(x.detach())
        if self._rows is not None and isinstance(past.rows, Tensor):
            self._rows.take(past.rows)
        for own, part in zip(self._where, _parts(where), strict=True):
            own.take(part)
        self._forward.replay()
        return self._y.clone()

    def backward(self, gradient: Tensor) -> Tensor:
        self._gradient.take(gradient)
        self._backward.replay()
        self.busy = False
        return self._found.clone()
