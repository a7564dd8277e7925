"""Masks: gates are what the formula says, the best set of neurons is found, bits are stable."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import ProgramError
from causaldsl.engine.bases import COLD, HOT, DasOptions, found_basis, trained_basis
from causaldsl.engine.das import Learner, fit_together
from tests.engine.test_interpret import check, run
from tests.frontend.world import PRELUDE, make_world

PLANTED = (3, 17, 20, 41)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("masks"))


@pytest.fixture(scope="module")
def planted(world: Path) -> Path:
    """A folder whose last MLP writes by a few of its neurons alone, and much."""
    from transformers import AutoModelForCausalLM

    folder = world / "planted"
    shutil.copytree(world / "tiny-llama", folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weight = model.model.layers[-1].mlp.down_proj.weight
    with torch.no_grad():
        kept = torch.zeros(weight.shape[1])
        kept[list(PLANTED)] = 8.0
        weight *= kept
    model.save_pretrained(folder)
    return folder


def test_gates_close_as_the_temperature_falls() -> None:
    options = DasOptions(dim=4, epochs=5, mask=True)
    free = torch.tensor([[0.3], [-0.2], [0.01], [0.0]], dtype=torch.float64)
    for epoch in range(5):
        temperature = HOT * (COLD / HOT) ** (epoch / 4)
        wanted = 1 / (1 + (-free[:, 0] / temperature).exp())
        assert torch.allclose(trained_basis(options, free, epoch), wanted, atol=1e-12)
    assert found_basis(options, free).tolist() == [1, 0, 1, 0]
    assert found_basis(options, free - 1).tolist() == [1, 0, 0, 0]  # one is left in any case


@pytest.mark.parametrize("cost", [0.05, 0.5])
def test_what_brings_more_than_it_costs_is_kept(cost: float) -> None:
    worth = torch.tensor([1.0, 0.0, 0.2, -0.3, 0.8, 0.01, 0.6], dtype=torch.float64)

    def losses(step: list[tuple[int, Tensor, Tensor]]) -> Tensor:
        return torch.stack([-(worth * gates).sum() for _, gates, _ in step])

    options = DasOptions(dim=7, lr=0.02, epochs=20, mask=True, cost=cost)
    learner = Learner(7, options, lambda epoch: [torch.zeros(1)] * 5)
    (fit,) = fit_together([learner], losses, dtype=torch.float64)  # type: ignore[arg-type]
    assert fit.basis.tolist() == (worth > cost).double().tolist()


MASK = """
site x = mlp_hidden[3] @ END
subspace v = mask(x, on: flip.train, cost: COST, objective: logit_diff, no_change: 0, epochs: 100)
"""


def program(cost: float, more: str = "") -> str:
    return (PRELUDE + MASK.replace("COST", str(cost)) + more).replace("tiny-llama", "planted")


def chosen(session: object) -> list[int]:
    vectors = session.values[session.graph.key_of("v")].vectors  # type: ignore[attr-defined]
    assert torch.equal(vectors.sum(0), torch.ones(vectors.shape[1], dtype=vectors.dtype))
    found: list[int] = vectors.nonzero()[:, 0].tolist()
    return sorted(found)


def test_the_best_set_of_planted_neurons_is_found(world: Path, planted: Path) -> None:
    """The one with the lowest loss and cost of all sets, each measured by its patch."""
    sets = [s for k in range(1, len(PLANTED) + 1) for s in combinations(PLANTED, k)]
    arms = "".join(f"s{i} = patch x along neurons(x, {list(s)})\n" for i, s in enumerate(sets))
    measure = f"measure m on flip.train {{\n{arms}report logit_diff\n}}\n"
    kept = set()
    results, session = run(program(0.01, measure), world)
    losses = [results.measures["m"][f"s{i}"]["logit_diff"].mean for i in range(len(sets))]
    spread = max(losses) - min(losses)
    assert spread > 0.01
    for cost, backend in ((spread / 50, "cone"), (spread / 10, "hooks"), (spread / 3, "cone")):
        totals = [loss + cost * len(s) for loss, s in zip(losses, sets, strict=True)]
        best = sets[totals.index(min(totals))]
        _, session = run(program(cost), world, backend=backend)
        assert chosen(session) == list(best), (cost, backend)
        kept.add(best)
    assert len(kept) == 3  # a higher price leaves fewer


def test_equal_seeds_give_equal_masks(world: Path) -> None:
    text = PRELUDE + "subspace v = mask(resid_post[2] @ END, on: flip.train, seed: SEED)\n"
    first, again = (run(text.replace("SEED", "5"), world)[1] for _ in range(2))
    assert chosen(first) == chosen(again)
    fits = [s.training[s.graph.key_of("v")] for s in (first, again)]
    assert fits[0].losses == fits[1].losses
    assert fits[0].held_out == fits[1].held_out


FEATURES = """
dictionary f = sae("sae") at resid_post[1]
dictionary t = transcoder("transcoder") at mlp_in[1] -> mlp_out[1]
subspace v = das(OF @ END, on: flip.train, dim: 12, objective: logit_diff, no_change: 0)
subspace w = mask(OF @ END, on: flip.train, objective: logit_diff, no_change: 0, epochs: 6, cost: 0)
measure m on flip.train {
  whole = patch OF @ END
  report logit_diff
}
"""


@pytest.mark.parametrize("site", ["f.features[0..11]", "t.features[0..11]"])
def test_features_are_trained_through_what_they_write(site: str, world: Path) -> None:
    """The loss of a subspace that is all of them is what the patch of them does."""
    found = {}
    for backend in ("cone", "hooks"):
        results, session = run(PRELUDE + FEATURES.replace("OF", site), world, backend=backend)
        loss = session.training[session.graph.key_of("v")].losses[0]
        assert loss == pytest.approx(results.measures["m"]["whole"]["logit_diff"].mean, abs=1e-5)
        assert abs(loss - results.measures["m"]["clean"]["logit_diff"].mean) > 1e-4
        found[backend] = session.values[session.graph.key_of("w")].vectors
    assert torch.equal(found["cone"], found["hooks"])


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("mask(resid_post[2] @ END, on: flip.train, cost: -1)", "bad-option"),
        ("mask(resid_post[2] @ END, on: flip.train, dim: 3)", "unknown-option"),
        ('mask(hook("blocks.1.ln1.hook_out") @ END, on: flip.train)', "unknown-width"),
        ("mask(heads @ END, on: flip.train)", "several-sites"),
    ],
)
def test_refused(call: str, code: str, world: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        check(PRELUDE + f"subspace v = {call}\n", world)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert problem.help
