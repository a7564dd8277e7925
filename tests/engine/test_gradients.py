"""Gradients, attribution and DAS on chosen neurons, against raw hooks and autograd."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.metrics import ROUNDING
from causaldsl.engine.session import Session
from causaldsl.results.records import Results
from tests import oracle
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("words"))


def vectors(session: Session, name: str) -> Tensor:
    return session.values[session.graph.key_of(name)].vectors


def gradients(session: Session, pairs: str, place: oracle.Place, position: str) -> Tensor:
    """Gradient of every base's logit difference at a place, by autograd through raw hooks."""
    module = oracle.in_double(session.loaded.hf)
    found = []
    for pair in session.graph.pairs[session.graph.key_of(pairs)].pairs:
        at = pair.base.named[position]
        leaf = []

        def change(x: Tensor, at: int = at, leaf: list[Tensor] = leaf) -> Tensor:
            x = x.detach().clone().requires_grad_()
            leaf.append(x)
            return x

        with torch.enable_grad():
            logits = oracle.logits(module, torch.tensor([pair.base.ids]), [(place, change)])[0]
            (whole,) = torch.autograd.grad(logits[pair.answer] - logits[pair.foil], leaf[0])
        found.append(whole[0, at])
    return torch.stack(found)


def changes(session: Session, pairs: str, place: oracle.Place, position: str) -> Tensor:
    module = oracle.in_double(session.loaded.hf)
    found = []
    for pair in session.graph.pairs[session.graph.key_of(pairs)].pairs:
        source, base = (
            oracle.read(module, torch.tensor([p.ids]), place)[0, p.named[position]]
            for p in (pair.source, pair.base)
        )
        found.append(source - base)
    return torch.stack(found)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gpt2"])
@pytest.mark.parametrize(
    ("site", "place", "position"),
    [
        ("mlp_hidden[2] @ END", ("mlp_hidden", 2, None), "END"),
        ("resid_post[1] @ S2", ("resid_post", 1, None), "S2"),
        ("head[1.3].z @ S2", ("head.z", 1, 3), "S2"),
    ],
)
def test_gradient_is_autograds(
    site: str, place: oracle.Place, position: str, model: str, backend: str, world: Path
) -> None:
    text = (
        PRELUDE.replace("tiny-llama", model)
        + f"""
subspace g = gradient({site}, on: flip.train)
subspace best = best_neurons({site}, on: flip.train, k: 5)
"""
    )
    results, session = run(text, world, backend=backend)
    each = gradients(session, "flip.train", place, position)
    wanted = each.mean(0)
    assert wanted.norm() > 1e-4
    assert (vectors(session, "g")[:, 0] - wanted).norm() < 1e-9 * max(1.0, float(wanted.norm()))
    scores = (each * changes(session, "flip.train", place, position)).mean(0).abs()
    order = scores.argsort(descending=True)
    assert scores[order[4]] > scores[order[5]] + 1e-9
    assert vectors(session, "best").argmax(0).tolist() == order[:5].tolist()
    assert results.subspaces["best"].neurons == sorted(order[:5].tolist())
    assert results.subspaces["g"].neurons is None


def test_gradient_predicts_a_small_step(world: Path) -> None:
    """Steering by a little changes the mean logit difference by its gradient's length times it."""
    text = (
        PRELUDE
        + """
site resid = resid_post[1] @ END
subspace g = gradient(resid, on: flip.train)
let steepness = norm(g)
pairs same = ioi ABB <-> BAB { train 8  seed 0 }
"""
    )
    results, session = run(text, world)
    module = oracle.in_double(session.loaded.hf)
    unit = vectors(session, "g")[:, 0] / results.numbers["steepness"]
    pairs = session.graph.pairs[session.graph.key_of("flip.train")].pairs
    step, difference = 1e-5, 0.0
    for pair in pairs:
        for sign in (1, -1):

            def change(x: Tensor, sign: int = sign) -> Tensor:
                x = x.clone()
                x[:, -1] += sign * step * unit
                return x

            tokens = torch.tensor([pair.base.ids])
            logits = oracle.logits(module, tokens, [(("resid_post", 1, None), change)])[0]
            difference += sign * float(logits[pair.answer] - logits[pair.foil])
    found = difference / len(pairs) / (2 * step)
    assert found == pytest.approx(results.numbers["steepness"], rel=1e-6)


DAS = (
    PRELUDE.replace("train 8", "train 24")
    + """
site mlp = mlp_hidden[2] @ END
subspace few = das(mlp, on: flip.train, neurons: [40, 3, 7, 21], dim: 2, epochs: 6, lr: 0.05)
subspace drawn = das(mlp, on: flip.train, neurons: 10, epochs: 2)
subspace more = das(mlp, on: flip.train, neurons: 30, epochs: 1)
subspace others = das(mlp, on: flip.train, neurons: 10, neurons_seed: 1, epochs: 2)
subspace one = das(mlp, on: flip.train, neurons: [5], epochs: 9)
subspace free = das(mlp, on: flip.train, epochs: 2)
subspace every = das(mlp, on: flip.train, neurons: 48, epochs: 2)
measure m on flip.test {
  one = patch mlp along one
  coordinate = patch mlp along neurons(mlp, [5])
  report logit_diff
}
"""
)


@pytest.fixture(scope="module")
def learned(world: Path) -> tuple[Results, Session]:
    return run(DAS, world)


def support(session: Session, name: str) -> list[int]:
    return vectors(session, name).abs().amax(1).nonzero()[:, 0].tolist()


def test_das_uses_only_its_neurons(learned: tuple[Results, Session]) -> None:
    results, session = learned
    few = vectors(session, "few")
    assert support(session, "few") == results.subspaces["few"].neurons == [3, 7, 21, 40]
    assert torch.allclose(few.T @ few, torch.eye(2, dtype=few.dtype), atol=1e-10)
    losses = results.subspaces["few"].losses
    assert losses is not None
    assert losses[-1] < losses[0]
    assert set(results.subspaces["few"].effects or {}) == {"train", "test"}


def test_drawn_neurons_grow_and_depend_on_their_seed(learned: tuple[Results, Session]) -> None:
    _, session = learned
    drawn, more = set(support(session, "drawn")), set(support(session, "more"))
    assert len(drawn) == 10
    assert len(more) == 30
    assert drawn < more
    assert set(support(session, "others")) != drawn


def test_all_neurons_are_plain_das_and_one_is_its_coordinate(
    learned: tuple[Results, Session],
) -> None:
    results, session = learned
    assert torch.allclose(vectors(session, "free"), vectors(session, "every"), atol=1e-9)
    assert vectors(session, "one").abs()[:, 0].tolist() == [float(i == 5) for i in range(48)]
    assert len(results.subspaces["one"].losses or []) == 1
    arms = results.measures["m"]
    assert arms["one"]["logit_diff"].mean == pytest.approx(arms["coordinate"]["logit_diff"].mean)


def test_das_is_swept_over_sizes_and_seeds(world: Path) -> None:
    text = (
        PRELUDE
        + """
site mlp = mlp_hidden[2] @ END
sweep growth on flip.test {
  for k in {1, 5, 48}, s in 0..1:
    patch mlp along das(mlp, on: flip.train, neurons: k, seed: s, epochs: 2)
  report logit_diff
}
sweep rates on flip.test {
  for r in {0.001, 0.1}: patch mlp along das(mlp, on: flip.train, lr: r, epochs: 3)
  report logit_diff
}
expect growth[5.1].logit_diff > -100 and rates[0.001].logit_diff > -100
"""
    )
    results, session = run(text, world)
    table = results.measures["growth"]
    assert set(table) == {"clean", *(f"[{k}.{s}]" for k in (1, 5, 48) for s in (0, 1))}
    assert len({round(n["logit_diff"].mean, 12) for n in table.values()}) == 7
    words = [session.graph.operation(key).word for key in session.graph.order()]
    assert sorted({w.lr for w in words if w.word == "das"}) == [0.001, 0.01, 0.1]


FEATURES = 'dictionary f = sae("sae") at resid_post[1]\n'
NONE_AT_ALL = r"of 32 neurons, 0 have a score that is not 0, and 3 are asked for"


@pytest.mark.parametrize(
    ("subspace", "message", "way"),
    [
        ("best_neurons(embed @ END, k: 3, on: flip.train)", NONE_AT_ALL, "differs between"),
        ("best_features(f.features @ END, k: 40, on: flip.train)",
         r"of 48 features, (\d+) have a score that is not 0, and 40 are asked for", "at most"),
        ("best_features(f.features @ END, k: 1, after: 40, by: difference, on: flip.train)",
         r"of 48 features, (\d+) have a score that is not 0, and 41 are asked for", "at most"),
    ],
)  # fmt: skip
def test_what_has_no_score_is_not_among_the_best(
    subspace: str, message: str, way: str, world: Path
) -> None:
    """Prompts end alike, and a dictionary of this kind has few features in any of them."""
    with pytest.raises(RunFailure, match=message) as refused:
        run(PRELUDE + FEATURES + f"subspace best = {subspace}\n", world)
    assert way in str(refused.value.help)


def test_a_tie_among_neurons_is_said(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PRELUDE + "subspace best = best_neurons(mlp_hidden[2] @ END, k: 5, on: flip.train)\n"
    results, _ = run(text, world)
    assert not any("no more than rounding" in note for note in results.notes)
    monkeypatch.setitem(ROUNDING, "float64", 1.0)  # as if nothing were known of the numbers
    monkeypatch.setitem(ROUNDING, "float32", 1.0)
    results, _ = run(text, world)
    assert any(note.startswith("best: ") and "rounding" in note for note in results.notes)


@pytest.mark.parametrize("told", ["", " { dtype float32 }"])
def test_gradients_in_bfloat16_are_said_to_be_rough(told: str, world: Path) -> None:
    """Where the run was told so, and not the program, which `check` warns of."""
    text = PRELUDE.replace('"tiny-llama"', f'"tiny-llama"{told}') + (
        "subspace best = best_neurons(mlp_hidden[2] @ END, k: 5, on: flip.train)\n"
        "attribution found to logit_diff on flip.train { over heads }\n"
    )
    results, _ = run(text, world, dtype="bfloat16")
    said = [note for note in results.notes if "a tenth and more" in note]
    assert len(said) == 1
    results, _ = run(text, world, dtype="float32")
    assert not any("a tenth and more" in note for note in results.notes)
