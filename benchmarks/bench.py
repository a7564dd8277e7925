"""What all comparisons share: the model in every form, the prompts, programs on them, the sizes."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from common import TEMPLATE, Pairs, make_pairs
from peers import Peer
from product import Compiled, Product, compiled, ids

from causaldsl.engine.weights.load import Loaded, load
from causaldsl.model.catalog import resolve
from causaldsl.model.tokens import Tokens


@dataclass(frozen=True)
class Sizes:
    """How large the work is; ``scan_senders`` and ``grid_step`` thin out what would take hours.

    ``grid_step`` is the distance between the layers of the layer-by-position sweep, ``some_step``
    that of the smaller sweep over heads. ``their_steps`` are the training steps timed for those who
    are slow, beside one of warm-up. Random models have their ``real`` shapes, or are very small.
    """

    few: int = 64
    many: int = 512
    fit: int = 128
    fit_epochs: int = 2
    our_steps: int = 20
    their_steps: int = 2
    our_steps_of_many: int = 18
    seeds: int = 8
    sweep: int = 16
    grid: int = 4
    grid_step: int = 3
    heads: int = 4
    some_heads: int = 8
    some_step: int = 10
    scan: int = 8
    scan_senders: int = 12
    audit: int = 16
    directions: int = 8
    real: bool = True


QUICK = Sizes(
    few=6,
    many=12,
    fit=8,
    fit_epochs=2,
    our_steps=3,
    their_steps=1,
    our_steps_of_many=3,
    seeds=2,
    sweep=3,
    grid=2,
    grid_step=2,
    heads=2,
    some_heads=2,
    some_step=2,
    scan=2,
    scan_senders=2,
    audit=4,
    directions=3,
    real=False,
)


@dataclass
class Bench:
    """One model and its forms. ``folder`` is for programs and files of pairs."""

    model: str
    sizes: Sizes
    folder: Path
    peers: list[Peer] = field(default_factory=list)
    loaded: Loaded | None = None
    """The model's weights, where they are not in its folder."""

    def __post_init__(self) -> None:
        self.spec = resolve(self.model, Path.cwd())
        assert self.spec.path is not None, "a toy model has no tokens"
        self.tokens = Tokens.load(self.spec.path)
        self.product = Product(self.loaded or load(self.spec))
        self.device = self.product.loaded.device
        self.shapes = self.spec.shapes
        self.layer = 2 * self.shapes.n_layers // 3
        """In the middle: upward of half, where the signal of SmolLM2's pairs sits."""

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens's form of the model."""
        return self.product.loaded.bridge

    @cached_property
    def plain(self) -> Any:
        """The Hugging Face module as its users have it: with their choice of attention code."""
        module = copy.deepcopy(self.product.loaded.hf)
        module.set_attn_implementation("sdpa")
        return module

    def pairs(self, count: int, template: str = TEMPLATE) -> Pairs:
        return make_pairs(self.tokens, count, template).to(self.device)

    def program(self, name: str, pairs: Pairs, body: str, towards: bool = False) -> Compiled:
        """A program on these pairs, ``p``; its ids are the ones that the others get."""
        file = f"{name}.jsonl"
        (self.folder / file).write_text(pairs.lines(towards), encoding="utf-8")
        path = self.spec.path if Path(self.model).exists() else None
        model = self.model if path is None else str(path.resolve())
        head = f"model lm = {json.dumps(model)}\npairs p = jsonl({json.dumps(file)})\n"
        found = compiled(head + body, self.folder, name)
        base, source = ids(found, "p")
        assert torch.equal(base, pairs.base.cpu()), "the program's bases have other ids"
        assert torch.equal(source, pairs.source.cpu()), "the program's sources have other ids"
        return found
