"""The real default model, where it has been fetched before (``causaldsl models pull``)."""

import time

import pytest
import torch

from causaldsl.engine.weights.load import load
from causaldsl.engine.weights.matrices import matrix
from causaldsl.model.catalog import catalog, resolve
from causaldsl.model.tokens import Tokens
from causaldsl.user_cache import cache_folder

CACHE = cache_folder()  # before the tests are given a cache of their own
PRESENT = catalog()[0].present

pytestmark = pytest.mark.skipif(not PRESENT, reason="smollm2-135m has not been fetched here")


@pytest.fixture
def spec(monkeypatch, tmp_path):
    monkeypatch.setenv("CAUSALDSL_CACHE", str(CACHE))
    return resolve("smollm2-135m", tmp_path, fetch=False)


def test_its_shapes(spec):
    shapes = spec.shapes
    assert (shapes.n_layers, shapes.n_heads, shapes.n_kv_heads) == (30, 9, 3)
    assert (shapes.d_model, shapes.d_head, shapes.d_mlp) == (576, 64, 1536)
    assert (shapes.d_vocab, shapes.n_ctx, shapes.gated_mlp) == (49152, 8192, True)


def test_its_tokens(spec):
    tokens = Tokens.load(spec.path)
    assert tokens.pieces(" Mary has 1234") == [" Mary", " has", " ", "1", "2", "3", "4"]
    assert tokens.single(" Mary") != tokens.single("Mary")
    assert len(tokens.encode("Mary")) == 1  # no token is set before a text


def test_it_knows_who_gets_the_drink(spec):
    tokens, loaded = Tokens.load(spec.path), load(spec)
    for first, second in (("Mary", "John"), ("John", "Mary")):
        text = f"Then, {first} and {second} went to the store. John gave a drink to"
        with torch.no_grad():
            logits = loaded.hf(torch.tensor([tokens.encode(text).ids])).logits[0, -1]
        assert tokens.decode([int(logits.argmax())]) == " Mary"
    assert matrix(loaded, "W_out", 20).shape == (1536, 576)
    assert matrix(loaded, "W_K", 20, 2).shape == (576, 64)


@pytest.mark.soak
def test_its_weights_are_there_at_once(spec):
    load(spec)  # the first time includes importing transformers
    start = time.perf_counter()
    load(spec)
    assert time.perf_counter() - start < 2
