"""A training whose tail is replayed: what a graph reads is what the step has, and nothing older.

There is no GPU here, so in the place of a CUDA graph the same work is done again, from and into the
tensors that it was recorded with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MistralConfig, SmolLM3Config

from causaldsl.engine.backend import CleanPass, Logits, Losses, Pass
from causaldsl.engine.cone import replay
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.replay import Replays
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from tests.engine.test_families import COMMON, CONFIGS, build

MODELS = {
    "llama": CONFIGS["llama, tied"],
    "a window": MistralConfig(**COMMON, sliding_window=4),
    "layers of two kinds": SmolLM3Config(
        **COMMON,
        pad_token_id=0,
        no_rope_layers=[1, 0, 1],
        use_sliding_window=True,
        sliding_window=4,
    ),
}
SITE = Site("mlp_hidden", 0)
BATCHES: dict[str, list[Any]] = {
    "all": [None] * 5,
    "rows": [[0, 3], [5, 1], [2, 4], [4, 0], [1, 1]],
    "two shapes": [[0, 2], [1, 3, 5], [3, 1], [4, 0, 2], [2, 5], [5, 3, 0]],
}
LENGTHS = {"even": [9] * 6, "ragged": [9, 8, 9, 7, 6, 9]}


class Again:
    """In the place of a CUDA graph."""

    made = 0

    def __init__(self, work: Callable[[], Any], found: Any):
        self.work, self.found, self.replays = work, found, 0

    def replay(self) -> None:
        self.replays += 1
        for own, new in zip(_tensors(self.found), _tensors(self.work()), strict=True):
            own.copy_(new)

    def pool(self) -> None:
        return None


def _tensors(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, list | tuple):
        for part in found:
            yield from _tensors(part)
    elif found is not None:
        yield from _tensors(list(vars(found).values()))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Again]:
    made: list[Again] = []

    def recorded(work: Callable[[], Any], pool: Any = None) -> tuple[Any, Again]:
        found = work()
        made.append(Again(work, found))
        return found, made[-1]

    init = Tail.__init__

    def with_replays(tail: Tail, *args: Any) -> None:
        init(tail, *args)
        tail.replays = Replays(tail)

    monkeypatch.setattr(replay, "recorded", recorded)
    monkeypatch.setattr(Tail, "__init__", with_replays)
    return made


@pytest.fixture(scope="module", params=MODELS)
def backend(request: pytest.FixtureRequest) -> ConeBackend:
    module, shapes = build(MODELS[request.param])
    return ConeBackend(module, shapes)


GRAPHS = {"losses": 1, "logits": 2}
"""Losses have their gradient made with them; logits, which may be used in any way, have not."""


def loss_of(
    backend: ConeBackend, kind: str, clean: Any, edit: Edit, targets: Tensor, rows: Any = None
) -> Tensor:
    """A loss (1, n) of each prompt."""
    if kind == "losses":
        return backend.run(Pass(clean, [[edit]], Losses(targets), rows))
    columns = torch.stack([targets, targets.flip(0)], 1)
    return backend.run(Pass(clean, [[edit]], Logits(columns), rows)).diff(dim=-1).squeeze(-1)


def steps(backend: ConeBackend, lengths: list[int], batches: list[Any], kind: str) -> list[Tensor]:
    """Losses and gradients of steps on rows of a clean run, along one direction after another."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(40, (6, 9), generator=draw)
    ends = torch.tensor(lengths)[:, None] - 1
    clean = backend.clean(CleanPass(tokens, (), [Read(SITE, ends)], torch.tensor(lengths)))
    values = torch.randn(6, 1, backend.shapes.d_mlp, generator=draw, dtype=torch.float64)
    targets = torch.randint(40, (6,), generator=draw)
    found: list[Tensor] = []
    with backend.training(100):
        for rows in batches:
            basis = torch.randn(backend.shapes.d_mlp, 1, generator=draw, dtype=torch.float64)
            basis = (basis / basis.norm()).requires_grad_()
            chosen = torch.arange(6) if rows is None else torch.tensor(rows)
            edit = Edit(SITE, ends[chosen], values[chosen], basis)
            taken = None if rows is None else chosen
            losses = loss_of(backend, kind, clean, edit, targets[chosen], taken)
            (gradient,) = torch.autograd.grad(losses.sum(), basis)
            found += [losses.detach(), gradient]
    return found


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES)
def test_replayed_steps_are_the_same(
    lengths: str,
    batches: list[Any],
    kind: str,
    backend: ConeBackend,
    request: pytest.FixtureRequest,
) -> None:
    wanted = steps(backend, LENGTHS[lengths], batches, kind)
    graphs = request.getfixturevalue("graphs")
    found = steps(backend, LENGTHS[lengths], batches, kind)
    shapes = len({None if rows is None else len(rows) for rows in batches})
    if lengths == "even":
        assert len(graphs) == GRAPHS[kind] * shapes
        replays = sum(graph.replays for graph in graphs)
        assert replays == GRAPHS[kind] * (len(batches) - shapes)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", GRAPHS)
def test_a_graph_in_use_is_not_used_again(
    kind: str, backend: ConeBackend, graphs: list[Again]
) -> None:
    """Two passes of one shape, both remembered before the first goes back."""
    tokens = torch.randint(40, (4, 9), generator=torch.Generator().manual_seed(0))
    ends = torch.full((4, 1), 8)
    clean = backend.clean(CleanPass(tokens, (), [Read(SITE, ends)]))
    width = backend.shapes.d_mlp

    def loss(x: Tensor) -> Tensor:
        edit = Edit(SITE, ends, x.expand(4, 1, width), add=True)
        return loss_of(backend, kind, clean, edit, torch.tensor([1, 2, 3, 4])).sum()

    with backend.training(100):
        for _ in range(3):
            x, y = (torch.full((width,), v, dtype=torch.float64).requires_grad_() for v in (0.1, 3))
            together = torch.autograd.grad(loss(x) + loss(y), [x, y])
            apart = [torch.autograd.grad(loss(part), part)[0] for part in (x, y)]
            for one, other in zip(together, apart, strict=True):
                assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert graphs
