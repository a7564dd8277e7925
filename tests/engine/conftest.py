"""Tiny float64 models as three parties: the oracle, the hooks backend and the cone backend."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.weights import known_answers
from causaldsl.engine.weights.bridge import build_bridge
from causaldsl.model.catalog import resolve
from causaldsl.model.shapes import ModelDims, shapes_from_config
from tests import oracle
from tests.tiny import FAMILIES, tiny_folder

LENGTH = 7


@dataclass(frozen=True)
class Parties:
    """One model three times over, and prompts for it."""

    family: str
    shapes: ModelDims
    oracle: Any
    backends: dict[str, Any]
    base: Tensor
    source: Tensor
    clean: Tensor
    """The oracle's logits for ``base``."""


def boot(folder: Path, module: Any, dtype: torch.dtype) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    originals = dict(module.named_modules())
    bridge = TransformerBridge.boot_transformers(
        str(folder),
        hf_model=module,
        tokenizer=AutoTokenizer.from_pretrained(folder),
        dtype=dtype,
        device="cpu",
    )
    bridge.originals = originals
    return bridge


def parties(folder: Path, family: str) -> Parties:
    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()

    shapes = shapes_from_config(family, json.loads((folder / "config.json").read_text()), "none")
    bridge = build_bridge(resolve(str(folder), folder), load(), torch.float64, "cpu")
    backends: dict[str, Any] = {"hooks": HooksBackend(bridge, shapes)}
    backends["cone"] = ConeBackend(load(), shapes)
    generator = torch.Generator().manual_seed(1)
    base, source = torch.randint(shapes.d_vocab, (2, 3, LENGTH), generator=generator)
    double = oracle.in_double(load())
    return Parties(family, shapes, double, backends, base, source, oracle.logits(double, base))


SOME = [pytest.param(n, marks=pytest.mark.soak) if n == "qwen2" else n for n in FAMILIES]
"""The one that differs least from another, llama, comes in the long tests."""


@pytest.fixture(scope="session", params=SOME)
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parties:
    folder = tiny_folder(tmp_path_factory.mktemp(request.param), request.param)
    return parties(folder, request.param)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return parties(tiny_folder(tmp_path_factory.mktemp("llama-alone"), "llama"), "llama")


@pytest.fixture(scope="session", autouse=True)
def _nothing_remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What earlier test runs remember of a model decides nothing here."""
    own = tmp_path_factory.mktemp("remembered")

    def folder() -> Path:
        return Path(os.environ.get("CAUSALDSL_CACHE", own))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_answers, "cache_folder", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors on several threads, in several test processes, mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _grad_mode() -> Iterator[None]:
    before = torch.is_grad_enabled()
    yield
    assert torch.is_grad_enabled() == before
