"""Attributions as programs have them: a linear model, sets that they choose, and what is kept.

That estimates are gradients times changes is tested in tests/families/test_attributions.py.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas
import pytest
import torch
from scipy.stats import spearmanr

from causaldsl import api
from causaldsl.diagnostics import ProgramError, RunFailure
from tests.frontend.world import PRELUDE, make_world

FLAT = 1e6
"""By how much norms divide in the linear model: what they read is nothing beside it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("attributions"))


@pytest.fixture(autouse=True)
def there(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def run(text: str, **choices: object) -> api.Run:
    chosen = {"dtype": "float64", "store": "none", **choices}
    return api.run(PRELUDE + text, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def linear(world: Path) -> Path:
    """A GPT-2 whose output is linear in what its heads and MLPs write: constant norms, no
    nonlinearity, and attention that looks at all tokens alike."""
    from transformers import AutoModelForCausalLM

    folder = world / "linear"
    shutil.copytree(world / "tiny-gpt2", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"activation_function": "linear", "layer_norm_epsilon": FLAT**2}
    (folder / "config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "ln_" in name and name.endswith("weight"):
                weight *= FLAT
            if "c_attn" in name:
                weight[..., : 2 * weight.shape[-1] // 3] = 0
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("how", ["", "steps 3", "steps 3  integrate activations", "edges"])
def test_it_is_the_exact_effect_in_a_linear_model(linear: Path, how: str) -> None:
    """Keys and queries are constant there, so only values and MLPs carry anything."""
    text = f"attribution a to logit_diff on flip.test {{ over heads, mlps  {how}  check 40 }}"
    found = api.run((PRELUDE + text).replace("tiny-llama", "linear"), dtype="float64", store="none")
    record = found.results.attributions["a"]
    size = max(abs(one.estimate.mean) for one in record.largest)
    assert len(record.drawn) >= 20
    assert size > 1e-3
    for one in record.drawn:
        assert one.exact is not None
        assert one.exact.mean == pytest.approx(one.estimate.mean, abs=1e-5 * size)
        assert (one.exact.low, one.exact.high) == pytest.approx(
            (one.estimate.low, one.estimate.high), abs=1e-5 * size
        )


CHOSEN = """
attribution a to logit_diff on flip.train { over heads, mlps }
attribution e to logit_diff on flip.train { edges }
attribution n to logit_diff on flip.train { over mlp_hidden[2] @ END  by neuron }
set movers = MOVERS
subspace cells = neurons(mlp_hidden[2] @ END, CELLS)
set few = EDGES
measure m on flip.test {
  movers = patch movers @ all
  cells = patch mlp_hidden[2] @ END along cells
  report logit_diff
}
expect m.movers.logit_diff < 1000
"""


def test_what_is_on_top_is_the_set_written_out() -> None:
    names = {"MOVERS": "top(3, a)", "CELLS": "top(4, n)", "EDGES": "top(5, e)"}
    text = CHOSEN
    for name, value in names.items():
        text = text.replace(name, value)
    found = run(text)
    best = {
        name: sorted(record.largest, key=lambda one: -abs(one.estimate.mean))
        for name, record in found.results.attributions.items()
    }
    written = {
        "MOVERS": "{" + ", ".join(one.name for one in best["a"][:3]) + "}",
        "CELLS": str([one.neuron for one in best["n"][:4]]),
        "EDGES": "{" + ", ".join(one.name for one in best["e"][:5]) + "}",
    }
    text = CHOSEN
    for name, value in written.items():
        text = text.replace(name, value)
    other = run(text)
    ours, theirs = (one.results.measures["m"] for one in (found, other))
    for arm, metrics in ours.items():
        mean = metrics["logit_diff"].mean
        assert mean == pytest.approx(theirs[arm]["logit_diff"].mean, abs=1e-12)
    notes = "\n".join(found.results.notes)
    for one in (*best["a"][:3], *best["e"][:5]):
        assert one.name in notes
    assert found.results.expectations[0].selected == ""


def test_features_on_top_are_a_set_of_a_dictionary() -> None:
    text = """
dictionary f = sae("sae") at resid_post[1]
attribution a to logit_diff on flip.train { over f.features @ END }
measure m on flip.test { x = patch f.features[CHOSEN] @ END  report logit_diff }
"""
    found = run(text.replace("CHOSEN", "top(4, a)"))
    best = sorted(found.results.attributions["a"].largest, key=lambda one: -abs(one.estimate.mean))
    numbers = [one.name.split("[")[1].split("]")[0] for one in best[:4]]
    written = run(text.replace("CHOSEN", "{" + ", ".join(numbers) + "}"))
    ours, theirs = (one.results.measures["m"]["x"]["logit_diff"].mean for one in (found, written))
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert abs(ours - found.results.measures["m"]["clean"]["logit_diff"].mean) > 1e-6


def test_a_claim_on_the_pairs_that_chose_is_marked() -> None:
    found = run(
        """
attribution a to logit_diff on flip.test { over heads }
measure m on flip.test { x = patch top(2, a) @ all  report logit_diff }
expect m.x.logit_diff < 1000
"""
    )
    assert found.results.expectations[0].selected == "what top(2, a) chose on the same pairs"


@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize(
    "form",
    [
        "over heads",
        "over heads[1..2].q, mlps",
        "over heads, mlps  steps 2",
        "over mlp_hidden[2] @ END  by neuron  steps 2",
        "over heads, mlps  steps 2  integrate activations",
        "over embed, resid_post[1] @ {S2, END}  steps 2",
        "edges",
        "over heads[1..2]  edges  steps 2",
        "edges  steps 2",
    ],
)
def test_each_form_asks_for_all_that_it_takes(form: str, backend: str) -> None:
    """Alone in a program, where nothing else is recorded."""
    found = run(f"attribution a to logit_diff on flip.test {{ {form} }}\n", backend=backend)
    beside = run(
        f"attribution a to logit_diff on flip.test {{ {form} }}\n"
        "measure m on flip.test { a = patch embed @ S2  b = patch heads.z @ all  report fldd }\n",
        backend=backend,
    )
    alone, other = (r.results.attributions["a"].largest for r in (found, beside))
    assert len(alone) > 2
    for one, same in zip(alone, other, strict=True):
        assert one.estimate.mean == pytest.approx(same.estimate.mean, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("site", "help"), [("heads @ 1", "attribute to sites"), ("heads @ 1, mlps", "from 1 to 4")]
)
def test_none_of_equal_zeros_is_on_top(site: str, help: str) -> None:
    """Left of S2 base and source are the same token and have seen the same."""
    with pytest.raises(RunFailure, match="can't be found") as refused:
        run(
            f"attribution a to logit_diff on flip.train {{ over {site} }}\n"
            "measure m on flip.test { x = patch top(5, a)  report logit_diff }"
        )
    assert help in refused.value.help


def test_a_sweep_over_how_many() -> None:
    found = run(
        """
attribution a to logit_diff on flip.train { over heads }
sweep grown on flip.test { for k in {1, 2, 8}: patch top(k, a) @ all  report logit_diff }
"""
    )
    assert set(found.results.measures["grown"]) == {"clean", "[1]", "[2]", "[8]"}


STORED = """
attribution a to logit_diff on flip.test { over heads, mlps  steps 2  check 5 }
attribution e to prob_diff on flip.test { over heads[1..2], mlps  edges  check 4 }
let r = a.rank_correlation
expect r > -2
"""


def test_a_store_gives_the_same_and_values_by_pair_have_the_means(tmp_path: Path) -> None:
    first, again = (
        run(STORED, store=tmp_path / "store", out=tmp_path / name) for name in ("one", "two")
    )
    assert again.results.attributions == first.results.attributions
    assert again.results.numbers == first.results.numbers
    assert again.results.intervals == first.results.intervals
    assert again.reused is not None
    assert again.reused[0] == again.reused[1]
    values = pandas.read_parquet(tmp_path / "one" / "values.parquet")
    for name, record in first.results.attributions.items():
        of = values[values["measure"] == name]
        means = of.groupby(["arm", "metric"])["value"].mean()
        for one in record.largest:
            assert means[one.name, "estimate"] == pytest.approx(one.estimate.mean)
        for one in record.drawn:
            assert one.exact is not None
            assert means[one.name, "exact"] == pytest.approx(one.exact.mean)
    assert first.results.numbers["r"] == pytest.approx(
        first.results.attributions["a"].rank_correlation.mean  # type: ignore[union-attr]
    )


def test_neither_memory_nor_pieces_change_a_number() -> None:
    roomy, tight = run(STORED), run(STORED, memory=20_000)
    for name, record in roomy.results.attributions.items():
        for one, other in zip(
            record.largest, tight.results.attributions[name].largest, strict=True
        ):
            assert one.name == other.name
            assert one.estimate.mean == pytest.approx(other.estimate.mean, abs=1e-12)


def test_sets_of_answers_have_a_logit_difference(world: Path) -> None:
    """The mean of attributions to each answer: logits of sets are averaged."""
    row = {"base": "The man gave Mary", "source": "The boy gave John", "foil": " kiss"}
    lines = {
        "one": [row | {"answer": " book"}],
        "other": [row | {"answer": " ring"}],
        "both": [row | {"answer": [" book", " ring"]}],
    }
    for name, pairs in lines.items():
        (world / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    found = {}
    for name in lines:
        text = f'pairs p = jsonl("{name}.jsonl")\nattribution a to logit_diff on p {{ over heads }}'
        record = run(text).results.attributions["a"]
        found[name] = {one.name: one.estimate.mean for one in record.largest}
    assert set(map(len, found.values())) == {16}
    for head, mean in found["both"].items():
        assert mean == pytest.approx((found["one"][head] + found["other"][head]) / 2, abs=1e-12)


def test_answers_of_several_tokens_are_refused(world: Path) -> None:
    row = {"base": "The man gave Mary", "source": "The boy gave John"}
    text = json.dumps(row | {"answer": " Bartholomew", "foil": " kiss"}) + "\n"
    (world / "spelled.jsonl").write_text(text)
    with pytest.raises(ProgramError) as refused:
        run(
            'pairs p = jsonl("spelled.jsonl", answers: whole)\n'
            "attribution a to logit_diff on p { over heads }"
        )
    assert [one.code for one in refused.value.diagnostics] == ["several-tokens"]


def test_a_rank_correlation_of_equal_effects_is_withheld() -> None:
    """Left of S2 base and source are the same token and have seen the same."""
    found = run(
        """
attribution a to logit_diff on flip.test { over heads @ 1  check 5 }
let r = a.rank_correlation
expect r > 0
"""
    )
    record = found.results.attributions["a"]
    assert all(one.estimate.mean == 0 for one in record.largest)
    assert record.rank_correlation is None
    assert math.isnan(found.results.numbers["r"])
    assert (record.idle, len(record.drawn)) == (5, 5)
    assert record.withheld.startswith("0 of the 5 that `check` drew do something")
    assert found.results.expectations[0].verdict == "undecided"


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_what_does_nothing_is_left_out_of_the_rank_correlation(backend: str) -> None:
    """Half of these heads are at a position where base and source are alike. The oracle is scipy's
    correlation over those whose effect is not 0."""
    text = "attribution a to logit_diff on flip.test { over heads @ {1, END}  check 50 }"
    record = run(text, backend=backend).results.attributions["a"]
    moved = [one for one in record.drawn if one.estimate.mean or abs(one.exact.mean) > 1e-9]
    assert record.idle == len(record.drawn) - len(moved) >= 6
    assert all(one.position == "1" for one in record.drawn if one not in moved)
    left, right = ([getattr(one, side).mean for one in moved] for side in ("estimate", "exact"))
    assert record.rank_correlation.mean == pytest.approx(spearmanr(left, right).statistic)
    everything = [[getattr(o, side).mean for o in record.drawn] for side in ("estimate", "exact")]
    assert spearmanr(*everything).statistic != pytest.approx(record.rank_correlation.mean)


@pytest.mark.parametrize(("count", "said"), [(4, "4 of the 4"), (5, "")])
def test_a_rank_correlation_of_four_is_withheld(count: int, said: str) -> None:
    text = f"attribution a to logit_diff on flip.test {{ over heads @ END  check {count} }}"
    record = run(text).results.attributions["a"]
    assert record.withheld[: len(said) or None] == said
    assert (record.rank_correlation is None) == bool(said)
