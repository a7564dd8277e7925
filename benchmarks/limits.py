"""The limit: the matrix multiplications that the cone needs, at the machine's own rate.

For every piece of work, its multiplications are made by themselves, with the model's very weights
and row counts (forward ``x W^T``, for training also backward ``g W``, there the faster of the
ordinary product and the one with a rearranged matrix), and timed: that is the machine's rate,
floating-point operations a second, at those shapes. The FLOPs of the whole cone,
attention's included, are the planner's (causaldsl/plan/flops.py). They by the rate are the least
time, and the share is that by the time that the work took: at 1 there was nothing else.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from bench import Bench
from torch import Tensor
from torch.nn import functional as F
from turns import significant, watch

from causaldsl.engine.cone.packing import Packed, available
from causaldsl.engine.cone.weights import Block, Decoder
from causaldsl.plan.entries import Entry, Stage
from causaldsl.plan.flops import backward_flops, clean_flops, tail_flops

ROWS = 1024
"""Larger work is cut into parts of so many rows, as it goes through the caches best."""
_REPETITIONS = 5


@dataclass(frozen=True)
class Product:
    """``rows`` rows times a weight (outputs, inputs), ``times`` times over."""

    weight: Tensor
    rows: int
    times: float = 1.0
    backward: bool = False
    training: bool = False

    @property
    def width(self) -> int:
        """Of what is multiplied."""
        return self.weight.shape[0 if self.backward else 1]

    def ways(self) -> list[Callable[[Tensor], Tensor]]:
        """How it can be made."""
        weight = self.weight
        plain = (lambda x: x @ weight) if self.backward else (lambda x: F.linear(x, weight))
        if not (self.training and available(weight)):
            return [plain]
        packed = Packed(weight.T if self.backward else weight, None, self.rows)
        return [plain, packed.linear]

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.weight.numel() * self.times


@dataclass
class Work:
    """FLOPs that some work can't do without, and the multiplications that most of them are in."""

    flops: int
    products: list[Product] = field(default_factory=list)

    def rows(
        self, weights: list[Tensor], rows: int, backward: bool = False, training: bool = False
    ) -> Work:
        """That many rows times every weight, in parts."""
        whole, rest = divmod(rows, ROWS)
        for weight in weights:
            if whole:
                self.products.append(Product(weight, ROWS, whole, backward, training))
            if rest:
                self.products.append(Product(weight, rest, 1, backward, training))
        return self

    @property
    def weight_bytes(self) -> int:
        """Of all weights, each read once, and once more on the way back."""
        found = {(p.weight.data_ptr(), p.backward): p.weight.nbytes for p in self.products}
        return sum(found.values())


def limits(bench: Bench, comparisons: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The share of the machine's rate that our side reached, of the work that was measured."""
    decoder: Decoder = bench.product.backends["cone"].decoder  # type: ignore[attr-defined]
    wanted: list[tuple[str, str, Callable[[Any], Work], Callable[[Any], float]]] = [
        ("das_step_64", "DAS step", lambda f: _das(bench, decoder, f), _seconds),
        ("seeds", "DAS step of all seeds", lambda f: _das(bench, decoder, f), _seconds_of_many),
        ("das_step_512", "DAS step", lambda f: _das(bench, decoder, f), _seconds),
        ("das_step_512", "clean run of the bases", lambda f: _bases(bench, decoder, f), _bases_s),
        ("end_sweep", "END sweep", lambda f: _end_sweep(bench, decoder, f), _seconds),
        ("head_sweep", "head sweep", lambda f: _head_sweep(bench, decoder, f), _seconds),
    ]
    found = []
    for name, about, count, seconds in wanted:
        if name in comparisons:
            record = comparisons[name]
            work = count(record["facts"])
            taken = seconds(record["sides"])
            found.append({"name": name, "about": about} | _against(work, taken))
    return found


def _against(work: Work, seconds: float) -> dict[str, float]:
    products = _time(work.products)
    rate = sum(product.flops for product in work.products) / products
    least = work.flops / rate
    return {
        "flops": significant(work.flops),
        "flops_per_second": significant(rate),
        "least_seconds": significant(least),
        "seconds": seconds,
        "share": significant(least / seconds),
    }


@torch.no_grad()
def _time(products: list[Product]) -> float:
    """Seconds for all of them, one after the other."""
    inputs: dict[tuple[int, int], Tensor] = {}
    for p in products:
        if (p.rows, p.width) not in inputs:
            inputs[p.rows, p.width] = p.weight.new_empty(p.rows, p.width).normal_()
    ways = [p.ways() for p in products]
    totals = []
    for _ in range(_REPETITIONS + 1):
        total = 0.0
        for p, mine in zip(products, ways, strict=True):
            total += p.times * min(_once(way, inputs[p.rows, p.width]) for way in mine)
        totals.append(total)
    return statistics.median(totals[1:])


def _once(way: Callable[[Tensor], Tensor], x: Tensor) -> float:
    with watch() as elapsed:
        way(x)
    return elapsed()


def _seconds(sides: list[dict[str, Any]]) -> float:
    return float(sides[0]["seconds"])


def _seconds_of_many(sides: list[dict[str, Any]]) -> float:
    return float(sides[1]["seconds"])


def _bases_s(sides: list[dict[str, Any]]) -> float:
    return float(sides[0]["parts"]["clean base"])


def _das(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    """The tail above the neurons, the whole vocabulary, and the way back without weights."""
    shapes, left = bench.shapes, facts["tokens"] - 1
    n = facts["pairs"] * facts.get("seeds", 1)
    entry = Entry(bench.layer, Stage.HIDDEN)
    forward, backward = (count(shapes, entry, 1, left) for count in (tail_flops, backward_flops))
    weights = [decoder.blocks[bench.layer].mlp.down.weight, decoder.unembed.weight]
    for block in decoder.blocks[bench.layer + 1 :]:
        weights += _weights(block)
    work = Work(n * (forward + backward))
    forward_and_back = work.rows(weights, n, training=True)
    return forward_and_back.rows(weights, n, backward=True, training=True)


def _bases(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    n, length = facts["pairs"], facts["tokens"]
    work = Work(clean_flops(bench.shapes, [length] * n))
    for block in decoder.blocks:
        work.rows(_weights(block), n * length)
    return work


def _end_sweep(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    """The last value that is read goes into the last block."""
    return _sweep(bench, decoder, facts, arms=1, last=len(decoder.blocks) - 2)


def _head_sweep(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    return _sweep(bench, decoder, facts, arms=decoder.n_heads, last=len(decoder.blocks) - 1)


def _sweep(bench: Bench, decoder: Decoder, facts: dict[str, Any], arms: int, last: int) -> Work:
    """Clean runs of bases and sources (to block ``last``), and ``arms`` tails from each block."""
    shapes, n, length = bench.shapes, facts["pairs"], facts["tokens"]
    clean = clean_flops(shapes, [length] * n) + clean_flops(shapes, [length] * n, last)
    tails = [
        tail_flops(shapes, Entry(layer), 1, length - 1, columns=2)
        for layer in range(shapes.n_layers)
    ]
    work = Work(clean + arms * n * sum(tails))
    for layer, block in enumerate(decoder.blocks):
        rows = n * length * (1 + (layer <= last)) + arms * n * (layer + 1)
        work.rows(_weights(block), rows)
    return work


def _weights(block: Block) -> list[Tensor]:
    linears = (*block.attention.linears(), *block.mlp.linears())
    return [linear.weight for linear in linears]


WORK: dict[str, Callable[[Bench, Decoder, dict[str, Any]], Work]] = {
    "das_step_64": _das,
    "das_step_512": _das,
    "end_sweep": _end_sweep,
    "head_sweep": _head_sweep,
}
"""The work of a comparison's timed part, where it is counted."""
