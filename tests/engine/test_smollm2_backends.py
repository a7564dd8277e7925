"""The two backends on the real default model in float32, where it has been fetched before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl.diagnostics import Mistake
from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.bases import start
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import ModelSpec, resolve
from causaldsl.model.sites import Site
from causaldsl.model.tokens import Tokens

TEXT = "Then, {} and {} had a long and really crazy argument. Afterwards, {} said to"


def found() -> ModelSpec | None:
    """At import, before any test is given a cache of its own."""
    try:
        return resolve("smollm2-135m", Path.cwd(), fetch=False)
    except Mistake:
        return None


SPEC = found()
pytestmark = pytest.mark.skipif(SPEC is None, reason="smollm2-135m has not been fetched here")


@pytest.fixture(scope="module")
def backends() -> tuple[Any, Any, Tokens]:
    assert SPEC is not None
    assert SPEC.path is not None
    loaded = load(SPEC)
    cone = ConeBackend(loaded.hf, SPEC.shapes)
    return cone, HooksBackend(loaded.bridge, SPEC.shapes), Tokens.load(SPEC.path)


@pytest.mark.parametrize(
    "site",
    [
        Site("resid_post", 12),
        Site("resid_mid", 20),
        Site("mlp_hidden", 20),
        Site("head.z", 23, 4),
        Site("head.out", 23, 4),
        Site("head.q", 25, 7),
        Site("kv_head.v", 18, 1),
    ],
    ids=str,
)
def test_they_agree(backends: tuple[Any, Any, Tokens], site: Site) -> None:
    cone, hooks, tokens = backends
    base = torch.tensor([tokens.encode(TEXT.format(*n)).ids for n in NAMES])
    source = torch.tensor([tokens.encode(TEXT.format(n[1], n[0], n[2])).ids for n in NAMES])
    end = base.shape[1] - 1
    read = Read(site, torch.tensor([[4, end], [end - 1, end]]))
    value = cone.clean(CleanPass(source, reads=[read])).read(read)
    assert (hooks.clean(CleanPass(source, reads=[read])).read(read) - value).abs().max() < 1e-3
    clean = cone.clean(CleanPass(base, edits_at=[read]))
    for basis in (None, start(value.shape[-1], 2, seed=0).float()):
        edit = Edit(site, read.positions, value, basis)
        wanted = logits_of(hooks, hooks.clean(CleanPass(base)), [edit])
        got = logits_of(cone, clean, [edit])
        assert (got - wanted).abs().max() < 1e-3
        if basis is None:
            assert (got - logits_of(cone, clean)).abs().max() > 1e-2


NAMES = [("Mary", "John", "John"), ("Tom", "James", "James")]
