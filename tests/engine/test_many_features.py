"""Many features of a large dictionary: what is held and done for each arm stays small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from causaldsl import api
from causaldsl.engine import drawn
from causaldsl.engine.dictionaries.code import Code
from causaldsl.plan.chunks import CONE_TOKENS
from causaldsl.plan.sharing import pass_order
from tests.frontend.world import PRELUDE, make_world

WIDTH, COUNT, ARMS = 32, 10_000, 120
SWEEP = """
dictionary f = sae("large") at resid_post[1]
attribution a to logit_diff on flip.test { over f.features @ END }
sweep s on flip.test {
  for i in 1..ARMS: patch f.features[i] @ END
  report logit_diff
}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("many"))
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return 0.3 * torch.randn(shape, generator=generator)

    (folder / "large").mkdir()
    tensors = {
        "W_enc": random(WIDTH, COUNT),
        "b_enc": random(COUNT),
        "W_dec": random(COUNT, WIDTH),
        "b_dec": random(WIDTH),
    }
    save_file(tensors, folder / "large/sae_weights.safetensors")
    config = {"architecture": "topk", "k": 64, "d_in": WIDTH, "d_sae": COUNT, "metadata": {}}
    (folder / "large/cfg.json").write_text(json.dumps(config))
    return folder


def test_a_cell_is_what_a_measure_of_its_feature_finds(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no pass holds features of more positions than go through the model together."""
    largest = 0
    before = Code.encode

    def counted(code: Code, x: Tensor, columns: Tensor | None = None) -> Tensor:
        nonlocal largest
        largest = max(largest, x[..., 0].numel())
        return before(code, x, columns)

    monkeypatch.setattr(Code, "encode", counted)
    path = world / "p.cpatch"
    path.write_text(PRELUDE + SWEEP.replace("ARMS", str(ARMS)))
    made = api.run(path, store="none")
    cells = made.results.measures["s"]
    assert len(cells) == ARMS + 1
    path.write_text(PRELUDE + SWEEP.replace("1..ARMS", "{7, 8}"))
    few = api.run(path, store="none").results.measures["s"]
    for cell in ("[7]", "[8]"):
        alone = few[cell]["logit_diff"].mean
        assert cells[cell]["logit_diff"].mean == pytest.approx(alone, abs=1e-6)
    assert 0 < largest <= CONE_TOKENS


def test_plans_of_many_arms_hash_no_arm_with_all_others(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they take as long as the square of how many there are."""

    class Group(tuple[str, ...]):
        def __hash__(self) -> int:
            raise AssertionError("a group was hashed")

    path = world / "q.cpatch"
    path.write_text(PRELUDE + SWEEP.replace("ARMS", str(ARMS)))
    graph = api.compile(path).graph
    order = graph.order()
    runs = [key for key in order if graph.operation(key).word.word == "patched_run"]
    assert len(runs) == ARMS
    shared: dict[str, Any] = dict.fromkeys(runs, Group(runs))
    found = pass_order(graph, order, shared)
    assert sum(map(len, found)) == len(order)


def test_correlations_are_held_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as of all at once: the share of what is seen of them that chance explains."""
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(300, 1, generator=generator, dtype=torch.float64)
    z = common + torch.randn(300, 50, generator=generator, dtype=torch.float64)
    z = z.clamp(-3, 3)  # none so far out that it counts as less
    z = (z - z.mean(0)) / z.std(0, correction=0)
    whole = drawn._shrunk(z, free=30)
    monkeypatch.setattr(drawn, "_COLUMNS", 7)
    assert torch.allclose(drawn._shrunk(z, free=30), whole, atol=1e-12)
    squares = torch.corrcoef(z.T).square()
    apart = ~torch.eye(50, dtype=torch.bool)
    share = (1 - squares[apart]).square().sum() / 30 / squares[apart].sum()
    noise = torch.randn(300, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(whole, (1 - share) ** 0.5 * z + share**0.5 * noise, atol=1e-9)
