"""Corpora and texts of the model's own making, read by probes and pca."""

from pathlib import Path

import pytest
import torch

from tests import oracle
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world

PROGRAM = (
    PRELUDE
    + """
prompts texts = corpus("texts.txt")
prompts own = sample(lm, n: 70, length: 9, seed: 4)
site x = resid_mid[1] @ all
let read = ridge_r2(mlp_hidden[1] @ all, target: random(resid_mid[1] @ END), at: x, on: own)
site y = resid_mid[1] @ END
let told = logistic_accuracy(mlp_hidden[1] @ END, direction: random(y), at: y,
  scale: 30, unit: absolute, on: texts)
subspace p = pca(resid_post[1] @ END, on: texts, dim: 2)
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("texts"))


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gpt2"])
def test_probes_read_prompts_without_answers(model: str, world: Path) -> None:
    program = PROGRAM.replace("tiny-llama", model)
    results, session = run(program, world)
    pairs = session.graph.pairs
    own, texts = (pairs[session.graph.key_of(name)].pairs for name in ("own", "texts"))
    assert len(own) == 70
    assert {pair.base.length for pair in own} == {9}
    assert len({pair.base.ids for pair in own}) > 40
    probe = results.probes["read"]
    assert probe.prompts_train + probe.prompts_test == 70
    assert probe.n_train + probe.n_test == 70 * 9
    assert results.numbers["read"] > 0.2
    assert results.probes["told"].prompts_train == 18
    assert results.numbers["told"] > 0.7

    module = oracle.in_double(session.loaded.hf)
    place: oracle.Place = ("resid_post", 1, None)
    rows = torch.stack(
        [oracle.read(module, torch.tensor([pair.base.ids]), place)[0, -1] for pair in texts]
    )
    _, _, right = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    found = session.values[session.graph.key_of("p")].basis
    assert torch.linalg.svdvals(right[:2] @ found).min() > 1 - 1e-9

    again, other = run(program, world)
    assert again.numbers == results.numbers
    moved, elsewhere = run(program.replace("seed: 4", "seed: 5"), world)
    ids = [p.base.ids for p in own]
    assert [p.base.ids for p in other.graph.pairs[other.graph.key_of("own")].pairs] == ids
    assert [p.base.ids for p in elsewhere.graph.pairs[elsewhere.graph.key_of("own")].pairs] != ids
    assert moved.provenance["pairs"]["own"] != results.provenance["pairs"]["own"]


def test_texts_follow_the_models_chances(world: Path) -> None:
    """The second token's frequencies, over many texts, against the model's own distribution."""
    text = (
        PRELUDE
        + "prompts own = sample(lm, n: 4000, length: 2)\n"
        + "subspace p = pca(resid_post[0] @ END, on: own)\n"
    )
    _, session = run(text, world)
    pairs = session.graph.pairs[session.graph.key_of("own")].pairs
    start = pairs[0].base.ids[0]
    module = oracle.in_double(session.loaded.hf)
    chances = oracle.logits(module, torch.tensor([[start]]))[0].softmax(0)
    counts = torch.bincount(
        torch.tensor([pair.base.ids[1] for pair in pairs]), minlength=len(chances)
    )
    likely = chances.argsort(descending=True)[:10]
    spread = (chances * (1 - chances) / 4000).sqrt()
    assert ((counts / 4000 - chances)[likely].abs() < 4.5 * spread[likely]).all()
