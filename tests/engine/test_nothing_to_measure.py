"""Effects of zero, single pairs, and files that hold no direction: a clear word, never a NaN."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from causaldsl.check.units import apart
from causaldsl.cli import main
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.results.records import Results
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world

WIDTH = 48


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("nothing"))


def test_draws_without_a_ratio_do_not_count() -> None:
    """Of two pairs, one has no effect: a quarter of the draws hold that one alone."""
    top = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = Bootstrap(torch.Generator().manual_seed(0), 200, apart(len(top))).ratio(top, 2 * top)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


NOTHING = """
trace some = patch mlp_hidden[0] @ S2 to logit_diff on flip.test { through mlps  top 3  at S2 }
trace none = steer mlp_out[0] @ S2 along random(mlp_out[0] @ S2) by 0
  to logit_diff on flip.test { through mlps  top 3  at S2 }
"""


@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_trace_of_nothing(backend: str, dtype: str, world: Path) -> None:
    results, _ = run(PRELUDE + NOTHING, world, backend=backend, dtype=dtype)
    trace = results.traces["none"]
    assert trace.total.mean == pytest.approx(0, abs=1e-4)
    assert trace.explained.mean == 0
    assert all(node.share is not None and node.share.mean == 0 for node in trace.components)
    assert not any(edge.shown or edge.dormant for edge in trace.edges)
    assert [node.id for node in trace.nodes[1:-1]] == ["mlp1@S2", "mlp2@S2", "mlp3@S2"]
    assert any("trace none: the total effect is 0" in note for note in results.notes)
    assert not any("trace some" in note for note in results.notes)
    Results.model_validate_json(results.model_dump_json())


def test_no_rank_correlation_with_a_trace_of_nothing(world: Path) -> None:
    with pytest.raises(RunFailure, match="not defined"):
        run(PRELUDE + NOTHING + "let alike = rank_correlation(some, none)\n", world)


def directions() -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(0).normal(size=WIDTH)
    holed, endless = drawn.copy(), drawn.copy()
    holed[3], endless[3] = np.nan, np.inf
    return {
        "zeros": np.zeros(WIDTH),
        "nan": holed,
        "inf": endless,
        "huge": drawn * 1e200,
        "complex": (drawn + 1j * drawn).astype(np.complex64),
        "row": drawn[None],
        "empty": np.zeros((WIDTH, 0)),
    }


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("zeros", 3, "holds only zeros"),
        ("nan", 3, "not finite real numbers"),
        ("inf", 3, "not finite real numbers"),
        ("huge", 3, "too large or small to square"),
        ("complex", 3, "not finite real numbers"),
        ("row", 2, "transpose it"),
        ("empty", 2, "a tensor of shape [48, 0]"),
        ("none", 2, "holds no tensor"),
    ],
)
def test_a_file_without_a_direction(
    name: str, code: int, said: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = world / f"{name}.safetensors"
    save_file({"v": directions()[name]} if name in directions() else {}, str(file))
    start = ["audit", str(file), "--model", str(world / "tiny-llama"), "--site", "mlp_hidden[1]"]
    assert main([*start, "--pairs", str(world / "even.jsonl"), "--out", str(world / "out")]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "help:" in shown
    assert "Traceback" not in shown
    assert not (world / "out").exists()


def test_one_pair_without_an_effect(world: Path) -> None:
    """Two pairs, one of a prompt with itself: every share is of the other pair."""
    same = {"base": "The man gave Mary the ring", "answer": " book", "foil": " snack"}
    lines = [{**same, "source": same["base"]}, {**same, "source": "The man gave John the ring"}]
    (world / "same.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    text = """model lm = "tiny-llama"
pairs p = jsonl("same.jsonl")
trace t = patch resid_post[1] @ END to logit_diff on p { through mlps  top 2 }
audit a = illusion(random(mlp_hidden[1] @ END), on: p)
"""
    results, _ = run(text, world)
    Results.model_validate_json(results.model_dump_json())
    for node in results.traces["t"].components:
        assert node.share is not None
        assert node.share.low == pytest.approx(node.share.high)
