"""Probes and tables against raw hooks, closed-form ridge and planted signals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from causaldsl.cli import main
from causaldsl.diagnostics import ProgramError, RunFailure
from causaldsl.engine.metrics import exact
from causaldsl.engine.session import Session
from tests import oracle
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world
from tests.tiny import NAMES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("probes"))


MANY = PRELUDE.replace("train 8", "train 60")
PROBES = (
    MANY
    + """
site x = resid_mid[2] @ END
site mlp = mlp_hidden[2] @ END
subspace v = random(x, seed: 3)
let r2 = ridge_r2(mlp, target: v, at: x, on: flip.train, alphas: [10])
let mse = ridge_mse(mlp, target: v, at: x, on: flip.train, alphas: [10])
let p = ridge_p(mlp, target: v, at: x, on: flip.train, alphas: [10], permutations: 99)
let one_sign = logistic_accuracy(mlp, direction: v, at: x,
  scale: 20, unit: absolute, signs: random, penalty: 0.0001, on: flip.train)
let whole = ridge_r2(x, target: random(x, dim: 3), at: x, on: flip.train, alphas: [1e-6])
let told = logistic_accuracy(mlp, direction: v, at: x, scale: 20, unit: absolute, on: flip.train)
let tiny = logistic_accuracy(mlp, direction: v, at: x, scale: 1e-3, unit: mean_norm, on: flip.train)
let before = logistic_accuracy(resid_pre[2] @ END, direction: v, at: x,
  scale: 20, unit: absolute, on: flip.train)
site s2 = resid_mid[2] @ S2
let at_s2 = logistic_accuracy(resid_post[3] @ END, direction: v, at: s2,
  scale: 40, unit: absolute, on: flip.train)
"""
)


def activations(session: Session, place: oracle.Place, step: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
    """Last-token activations (n, d) of every base, with a step added at resid_mid[2] or without."""
    module, out = oracle.in_double(session.loaded.hf), []
    for pair in session.graph.pairs[session.graph.key_of("flip.train")].pairs:
        kept = []

        def keep(x: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(x[0, -1])
            return x

        def change(x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            x[:, -1] += step
            return x

        edits = [(("resid_mid", 2, None), change)] if step is not None else []
        oracle.logits(module, torch.tensor([pair.base.ids]), [*edits, (place, keep)])
        out.append(kept[0])
    return torch.stack(out).numpy()


def standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, sd = train.mean(0), train.std(0)
    return (train - mean) / sd, (test - mean) / sd


def test_scores_have_the_intervals_of_held_out_prompts(world: Path) -> None:
    """A few held-out prompts do not decide what a score of them looks like."""
    results, _ = run(
        PROBES + "expect r2 > 0\nexpect told > 0.5\nexpect mse > 0\nexpect p > 0\n", world
    )
    r2, told, mse, p = results.expectations
    assert r2.n == told.n == mse.n == 15
    assert r2.low is not None
    assert r2.high is not None
    assert r2.low < results.numbers["r2"] < r2.high
    score = results.numbers["told"]
    right = round(score * 30)
    assert told.difference == pytest.approx(score - 0.5)
    low, high = (float(end[0]) for end in exact(torch.tensor([right / 30]), 15))
    assert told.low == pytest.approx(low - 0.5, abs=0.01)
    assert told.high == pytest.approx(high - 0.5, abs=0.01)
    assert p.low is None


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_probes_by_hand(backend: str, world: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    results, session = run(PROBES, world, backend=backend)
    direction = session.values[session.graph.key_of("v")].vectors[:, 0]
    mlp, resid = ("mlp_hidden", 2, None), ("resid_mid", 2, None)
    x, y = activations(session, mlp), activations(session, resid) @ direction.numpy()
    order = torch.randperm(60, generator=session.generator(0, "probe split")).tolist()
    test, train = sorted(order[:15]), sorted(order[15:])
    x_train, x_test = standardised(x[train], x[test])
    centre = y[train].mean()
    gram = x_train @ x_train.T + 10 * np.eye(45)
    predicted = centre + x_test @ x_train.T @ np.linalg.solve(gram, y[train] - centre)
    held = y[test]
    wanted = 1 - ((held - predicted) ** 2).sum() / ((held - held.mean()) ** 2).sum()
    assert results.numbers["r2"] == pytest.approx(wanted, abs=1e-8)
    assert results.numbers["whole"] > 0.999
    error = ((held - predicted) ** 2).mean() / y[train].var()
    assert results.numbers["mse"] == pytest.approx(error, abs=1e-8)
    generator = session.generator(0, "ridge permutations")
    orders = [torch.randperm(15, generator=generator).numpy() for _ in range(99)]
    # R2 is higher where the squared errors are smaller: the spread of the held-out rows stays.
    as_good = sum(
        ((held[order] - predicted) ** 2).sum() <= ((held - predicted) ** 2).sum()
        for order in orders
    )
    assert results.numbers["p"] == pytest.approx((1 + as_good) / 100)
    assert results.numbers["p"] < 0.5

    plus, minus = (activations(session, mlp, sign * 20 * direction) for sign in (1, -1))
    assert np.abs(plus - minus).max() > 1e-3
    x_train, x_test = standardised(
        np.concatenate([plus[train], minus[train]]), np.concatenate([plus[test], minus[test]])
    )
    model = LogisticRegression(max_iter=5000).fit(x_train, [1] * 45 + [0] * 45)
    assert results.numbers["told"] == pytest.approx(model.score(x_test, [1] * 15 + [0] * 15))
    assert results.numbers["told"] > 0.8
    generator = session.generator(0, "probe signs")
    signs = [torch.randint(2, (k,), generator=generator).numpy() for k in (45, 15)]
    rows = [
        np.stack([plus[i] if sign else minus[i] for i, sign in zip(part, some, strict=True)])
        for part, some in zip((train, test), signs, strict=True)
    ]
    x_train, x_test = standardised(*rows)
    model = LogisticRegression(C=10000, max_iter=5000).fit(x_train, signs[0])
    assert results.numbers["one_sign"] == pytest.approx(model.score(x_test, signs[1]))
    assert results.probes["one_sign"].n_train == 45
    assert 0.2 < results.numbers["tiny"] < 0.8
    assert results.numbers["before"] == 0.5  # the step comes after, so there is nothing to tell
    assert results.numbers["at_s2"] > 0.7  # attention carries it to the last token

    told, tiny = results.probes["told"], results.probes["tiny"]
    assert (told.prompts_train, told.prompts_test, told.n_train, told.n_test) == (45, 15, 90, 30)
    assert told.step == 20
    assert tiny.step == pytest.approx(
        1e-3 * np.linalg.norm(activations(session, resid), axis=1).mean()
    )
    assert results.probes["r2"].n_test == 15
    assert results.probes["r2"].score == results.numbers["r2"]


def test_prompts_are_not_split_between_training_and_test(world: Path) -> None:
    """With several positions a prompt, rows count by position and the split by prompt."""
    text = (
        MANY
        + """
site x = resid_mid[1] @ IO..S2
site h = mlp_hidden[1] @ IO..S2
let a = ridge_r2(h, target: random(x), at: x, on: flip.train, held_out: 0.5, seed: 2)
"""
    )
    results, session = run(text, world)
    pairs = session.graph.pairs[session.graph.key_of("flip.train")].pairs
    width = {p.base.named["S2"] - p.base.named["IO"] + 1 for p in pairs}
    probe = results.probes["a"]
    assert probe.prompts_train == probe.prompts_test == 30
    assert 30 * min(width) <= probe.n_test <= 30 * max(width)
    assert probe.n_train + probe.n_test == sum(
        p.base.named["S2"] - p.base.named["IO"] + 1 for p in pairs
    )


def test_copies_of_a_prompt_stay_on_one_side(world: Path) -> None:
    """Three prompts, twenty times each with other sources: two to train on, one to test on."""
    import json

    lines = [
        json.dumps(
            {"base": base, "source": f"The {other} gave", "answer": " ring", "foil": " kiss"}
        )
        for base in ("The man gave Mary the", "A boy gave", "The girl said to Anna")
        for other in NAMES[:20]
    ]
    (world / "copies.jsonl").write_text("\n".join(lines) + "\n")
    text = """model lm = "tiny-llama"
pairs p = jsonl("copies.jsonl")
site x = resid_mid[1] @ END
let a = logistic_accuracy(mlp_hidden[1] @ END, direction: random(x), at: x,
  scale: 9, unit: absolute, on: p)
"""
    results, _ = run(text, world)
    probe = results.probes["a"]
    assert (probe.prompts_train, probe.prompts_test) == (40, 20)


def test_too_little_to_learn_from(world: Path) -> None:
    text = (
        MANY
        + "pairs few = ioi ABB <-> BAB { test 2 }\n"
        + "let a = ridge_r2(mlp_hidden[1] @ END, target: random(resid_mid[1] @ END), "
    )
    with pytest.raises(ProgramError, match="too few"):
        run(text + "at: resid_mid[1] @ END, on: few.test)\n", world)
    with pytest.raises(RunFailure, match="don't vary"):
        run(text + "at: embed @ 0, on: flip.train)\n", world)


TABLES = (
    PRELUDE
    + """
table lengths {
  for l in 1..2, z in {0.01, 0.1, 2}, s in 0..1:
    scaled = norm(random(resid_mid[l] @ END, seed: s)) * z + l
    plain = l / 2
}
measure m on flip.test { a = patch resid_post[1] @ END  report kl, fldd }
site r = resid_post[2] @ END
site h = mlp_hidden[3] @ END
sweep s on flip.test {
  for k in {1, 8, 40}, i in 0..1:
    patch r along random(r, seed: i) + patch h along neurons(h, [k])
  report kl, fldd
}
table shares { for k in {1, 8, 40}: share = s[k, 0].kl / m.a.kl }
let top = max(lengths.scaled)
let bottom = min(lengths.scaled)
let middle = mean(lengths.plain)
let one = lengths.scaled[2, 0.1, 1]
table points { for k in {1, 2, 4, 9}: x = k * k  y = 3 * k - 1 }
let rise = slope(points.y, over: points.x)
let start = intercept(points.y, over: points.x)
let straight = line_r2(points.y, over: points.x)
let through = line_r2(points.y, over: points.y)
expect abs(shares[8] - s[8, 0].kl / m.a.kl) <= 0
plot lengths
plot lengths by z as "by_z.png"
plot s by k relative m.a.kl as "curve.svg"
"""
)


def test_tables(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, _ = run(TABLES, world)
    table = results.tables["lengths"]
    assert list(table.axes) == ["l", "z", "s"]
    assert len(table.cells["scaled"]) == 12
    assert table.cells["scaled"]["2.0.01.0"] == pytest.approx(2.01)
    x, y = np.array([1, 4, 16, 81]), np.array([2, 5, 11, 26])
    rise, start = np.polyfit(x, y, 1)
    straight = np.corrcoef(x, y)[0, 1] ** 2
    assert results.numbers == pytest.approx(
        {"top": 4, "bottom": 1.01, "middle": 0.75, "one": 2.1}
        | {"rise": rise, "start": start, "straight": straight, "through": 1},
        abs=1e-9,
    )
    assert results.held
    assert results.plots["curve"].relative == results.measures["m"]["a"]["kl"].mean
    assert results.plots["curve"].metric == "kl"

    program = world / "tables.cpatch"
    program.write_text(TABLES)
    for out in ("first", "second"):
        assert main(["run", str(program), "--out", str(world / out)]) == 0
    assert "mean (range) over z, s" in capsys.readouterr().out
    curve = (world / "first/curve.svg").read_text()
    assert "kl / (m.a.kl)" in curve
    assert "fldd" not in curve
    assert curve == (world / "second/curve.svg").read_text()
    assert (world / "first/by_z.png").stat().st_size > 5000


def test_a_plot_relative_to_nothing(world: Path) -> None:
    text = TABLES.replace("relative m.a.kl", "relative (m.a.kl - m.a.kl)")
    results, _ = run(text, world)
    assert results.plots["curve"].relative is None
    (note,) = [note for note in results.notes if "which is 0" in note]
    assert note.startswith("the plot of ")
    assert results.measures["m"]["a"]["kl"].mean != 0
