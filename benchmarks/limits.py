"""The limit: the matrix multiplications that the cone needs, at the machine's own rate.

For every piece of work, its multiplications are made by themselves, with the model's very weights
and row counts (forward ``x W^T``, for training also backward ``g W``), and timed. That gives the
machine's rate, floating-point operations a second, at those shapes; attention's own products are
counted and taken at that rate. The share is the time that all of it would take by the time that
the work took: at 1 nothing but multiplications would be left.
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

from causaldsl.engine.cone.weights import Block, Decoder

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

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.weight.numel() * self.times


@dataclass
class Work:
    """What some work can't do without. ``attention`` counts its operations, of queries with keys
    and of weights with values."""

    products: list[Product] = field(default_factory=list)
    attention: float = 0.0

    def rows(self, weights: list[Tensor], rows: int, backward: bool = False) -> None:
        """That many rows times every weight, in parts."""
        whole, rest = divmod(rows, ROWS)
        for weight in weights:
            if whole:
                self.products.append(Product(weight, ROWS, whole, backward))
            if rest:
                self.products.append(Product(weight, rest, 1, backward))

    @property
    def flops(self) -> float:
        return self.attention + sum(product.flops for product in self.products)


def limits(bench: Bench, comparisons: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The share of the machine's rate that our side reached, of the work that was measured."""
    decoder: Decoder = bench.product.backends["cone"].decoder  # type: ignore[attr-defined]
    wanted: list[tuple[str, str, Callable[[Any], Work], Callable[[Any], float]]] = [
        ("das_step_64", "DAS step", lambda f: _das(bench, decoder, f), _seconds),
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
            taken = seconds(record["sides"][0])
            found.append({"name": name, "about": about} | _against(work, taken))
    return found


def _against(work: Work, seconds: float) -> dict[str, float]:
    products = _time(work.products)
    rate = sum(product.flops for product in work.products) / products
    least = products + work.attention / rate
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
        width = p.weight.shape[0 if p.backward else 1]
        if (p.rows, width) not in inputs:
            inputs[p.rows, width] = torch.randn(p.rows, width, dtype=p.weight.dtype)
    totals = []
    for _ in range(_REPETITIONS + 1):
        total = 0.0
        for p in products:
            x = inputs[p.rows, p.weight.shape[0 if p.backward else 1]]
            with watch() as elapsed:
                _ = x @ p.weight if p.backward else F.linear(x, p.weight)
            total += p.times * elapsed()
        totals.append(total)
    return statistics.median(totals[1:])


def _seconds(side: dict[str, Any]) -> float:
    return float(side["seconds"])


def _bases_s(side: dict[str, Any]) -> float:
    return float(side["parts"]["clean base"])


def _das(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    """The tail above the neurons, the whole vocabulary, and the way back without weights."""
    work, n = Work(), facts["pairs"]
    weights = [decoder.blocks[bench.layer].mlp.down.weight]
    above = decoder.blocks[bench.layer + 1 :]
    for block in above:
        weights += _weights(block)
    for backward in (False, True):
        work.rows([*weights, decoder.unembed.weight], n, backward)
    # Backward, each of the two products has two of its own.
    work.attention = 3 * len(above) * n * _attended(decoder, facts["tokens"])
    return work


def _bases(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    return _clean(Work(), decoder, facts, len(decoder.blocks))


def _end_sweep(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    work, n, layers = Work(), facts["pairs"], len(decoder.blocks)
    _clean(work, decoder, facts, layers)
    _clean(work, decoder, facts, layers - 1)  # the last value that is read goes into the last block
    for layer, block in enumerate(decoder.blocks):
        work.rows(_weights(block), n * (layer + 1))
        work.attention += n * (layer + 1) * _attended(decoder, facts["tokens"])
    return work


def _head_sweep(bench: Bench, decoder: Decoder, facts: dict[str, Any]) -> Work:
    work, n, layers = Work(), facts["pairs"], len(decoder.blocks)
    _clean(work, decoder, facts, layers)
    _clean(work, decoder, facts, layers - 1)
    last = decoder.blocks[-1].attention
    work.rows([last.q.weight, last.k.weight, last.v.weight], n * facts["tokens"])
    for layer, block in enumerate(decoder.blocks):
        above, here = n * layer * decoder.n_heads, n * decoder.n_heads
        attention = block.attention
        work.rows([attention.q.weight, attention.k.weight, attention.v.weight], above)
        work.rows([attention.out.weight, *_mlp(block)], above + here)
        work.attention += above * _attended(decoder, facts["tokens"])
    return work


def _clean(work: Work, decoder: Decoder, facts: dict[str, Any], layers: int) -> Work:
    """All positions through so many blocks; a position attends to itself and those before it."""
    n, length = facts["pairs"], facts["tokens"]
    for block in decoder.blocks[:layers]:
        work.rows(_weights(block), n * length)
    seen = sum(_attended(decoder, position + 1) for position in range(length))
    work.attention += layers * n * seen
    return work


def _weights(block: Block) -> list[Tensor]:
    attention = block.attention
    joined = (attention.q, attention.k, attention.v, attention.out)
    return [linear.weight for linear in joined] + _mlp(block)


def _mlp(block: Block) -> list[Tensor]:
    mlp = block.mlp
    gate = [] if mlp.gate is None else [mlp.gate.weight]
    return [*gate, mlp.up.weight, mlp.down.weight]


def _attended(decoder: Decoder, positions: int) -> float:
    """Operations of one query in one layer that attends to so many positions."""
    return 4.0 * decoder.n_heads * decoder.d_head * positions
