"""Histograms of projections against raw hooks, sklearn and scipy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from causaldsl.cli import main
from causaldsl.engine.words.histograms import separate
from tests import oracle
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("histograms"))


PROGRAM = (
    PRELUDE
    + """
site mlp = mlp_hidden[2] @ END
subspace v = random(mlp, seed: 1)
subspace w = random(resid_post[2] @ S2, seed: 2)
subspace u = random(mlp_out[2] @ END, seed: 3)
pairs same = ioi DCD -> ABB { test 5 }
pairs opposite = ioi CDD -> ABB { test 7 }
histogram h on flip.test {
  hidden = v at mlp
  control = v at random_mlp(2, seed: 0) @ END
  middle = w at resid_post[2] @ S2 with patch resid_post[0] @ S2
  output = u at mlp_out[2] @ END with patch mlp along v + ablate mlp_out[1] @ END to zero
}
histogram unrelated on same.test, opposite.test {
  clean = u at mlp_out[2] @ END
  patched = u at mlp_out[2] @ END with patch mlp along v
}
let apart = h.output.auc - h.hidden.d
let moved = unrelated.patched.opposite.mean - unrelated.clean.opposite.mean
let size = unrelated.clean.same.n + h.hidden.ABB.sd
plot h
plot unrelated as "unrelated.png"
"""
)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gpt2"])
def test_projections_are_the_oracles(model: str, backend: str, world: Path) -> None:
    results, session = run(PROGRAM.replace("tiny-llama", model), world, backend=backend)
    module = oracle.in_double(session.loaded.hf)
    directions = {
        name: session.values[session.graph.key_of(name)].vectors[:, 0] for name in ("v", "w", "u")
    }
    hidden, out = ("mlp_hidden", 2, None), ("mlp_out", 2, None)

    def seen(pair, place, position, edits):  # type: ignore[no-untyped-def]
        kept = []

        def keep(x):  # type: ignore[no-untyped-def]
            kept.append(x[0, pair.base.named[position]])
            return x

        oracle.logits(module, torch.tensor([pair.base.ids]), [*edits, (place, keep)])
        return kept[0]

    def patched(pair, place, position, along=None):  # type: ignore[no-untyped-def]
        source = oracle.read(module, torch.tensor([pair.source.ids]), place)
        value, at = source[0, pair.source.named[position]], pair.base.named[position]

        def change(x):  # type: ignore[no-untyped-def]
            x = x.clone()
            moved = value - x[0, at]
            x[0, at] += moved if along is None else along * (along @ moved)
            return x

        return place, change

    def zeroed(x):  # type: ignore[no-untyped-def]
        x = x.clone()
        x[:, -1] = 0
        return x

    v = directions["v"]
    arms = {
        "hidden": ("v", hidden, "END", lambda pair: []),
        "middle": (
            "w",
            ("resid_post", 2, None),
            "S2",
            lambda pair: [patched(pair, ("resid_post", 0, None), "S2")],
        ),
        "output": (
            "u",
            out,
            "END",
            lambda pair: [(("mlp_out", 1, None), zeroed), patched(pair, hidden, "END", v)],
        ),
    }
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    for name, (direction, place, position, edits) in arms.items():
        arm = results.histograms["h"].arms[name]
        by_class: dict[str, list[float]] = {"ABB": [], "BAB": []}
        for pair in pairs:
            x = seen(pair, place, position, edits(pair))
            by_class[pair.base.cls].append(float(x @ directions[direction]))
        for cls, values in by_class.items():
            found = arm.classes[cls]
            assert found.n == len(values) == 3
            assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
            assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-9)
            assert found.low <= found.mean <= found.high
            inside = [min(max(value, arm.edges[0]), arm.edges[-1]) for value in values]
            assert found.counts == np.histogram(inside, arm.edges)[0].tolist()
        first, second = by_class["ABB"], by_class["BAB"]
        labels = [1] * len(first) + [0] * len(second)
        assert arm.auc == pytest.approx(roc_auc_score(labels, first + second))
        ends = min(first + second), max(first + second)  # the only arm at its place
        assert (arm.edges[0], arm.edges[-1]) == pytest.approx(ends)
    numbers, record = results.numbers, results.histograms
    assert record["h"].arms["hidden"].d is not None
    assert numbers["apart"] == pytest.approx(
        (record["h"].arms["output"].auc or 0) - record["h"].arms["hidden"].d
    )
    clean, changed = record["unrelated"].arms["clean"], record["unrelated"].arms["patched"]
    assert list(clean.classes) == ["same", "opposite"]
    assert clean.edges == changed.edges
    assert [c.n for c in clean.classes.values()] == [5, 7]
    assert abs(numbers["moved"]) > 1e-4
    assert numbers["moved"] == pytest.approx(
        changed.classes["opposite"].mean - clean.classes["opposite"].mean
    )
    assert numbers["size"] > 5


def test_separation() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(40, generator=generator, dtype=torch.float64) + 1
    second = torch.randn(25, generator=generator, dtype=torch.float64).round(decimals=0)
    auc, d = separate(first.round(decimals=0), second)
    labels = [1] * 40 + [0] * 25
    scores = torch.cat([first.round(decimals=0), second]).tolist()
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    _, d = separate(first, second)
    a, b = first.numpy(), second.numpy()
    pooled = np.sqrt((39 * a.var(ddof=1) + 24 * b.var(ddof=1)) / 63)
    assert d == pytest.approx((a.mean() - b.mean()) / pooled)
    assert separate(torch.ones(3), torch.zeros(2)) == (1.0, None)
    assert separate(torch.ones(1), torch.ones(1)) == (0.5, None)


def test_prompts_without_patterns_are_bases_and_sources(world: Path) -> None:
    text = """model lm = "tiny-llama"
pairs p = jsonl("uneven.jsonl")
site s = resid_post[1] @ END
subspace v = random(s)
histogram h on p { a = v at s  b = v at s with patch s }
"""
    results, _ = run(text, world)
    arms = results.histograms["h"].arms
    assert list(arms["a"].classes) == ["base", "source"]
    assert arms["b"].classes["base"].mean == pytest.approx(arms["a"].classes["source"].mean)
    assert arms["b"].auc == pytest.approx(0.5)
    assert arms["a"].classes["base"].mean != pytest.approx(arms["a"].classes["source"].mean)


def test_a_toy_model(world: Path) -> None:
    text = """model lm = "toy/illusion"
pairs p = numbers(base: [1, 3], source: [2, -1])
site mlp = mlp_hidden[0]
histogram h on p { e1 = vector(mlp, [2, 0, 0]) at mlp  e3 = neurons(mlp, [2]) at mlp }
expect h.e1.base.mean == 2 and h.e1.source.mean == 0.5 and h.e3.base.sd == 0
"""
    results, _ = run(text, world)
    assert results.held
    results, _ = run(text + "expect h.e3.d > 0\n", world)
    *_, claim = results.expectations
    assert claim.verdict == "undecided"
    assert "no spread" in claim.why


def test_pictures_and_tables(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = world / "histograms.cpatch"
    program.write_text(PROGRAM)
    assert main(["run", str(program), "--out", str(world / "out")]) == 0
    printed = capsys.readouterr().out
    assert "unrelated: projections by class" in printed
    first = (world / "out/h.svg").read_text()
    assert (world / "out/unrelated.png").stat().st_size > 5000
    assert first.count("AUC") == 4
    assert main(["run", str(program), "--out", str(world / "again")]) == 0
    assert (world / "again/h.svg").read_text() == first
