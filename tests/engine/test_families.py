"""Architectures beyond those of tests/tiny.py, and odd settings of known ones, in the cone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen3Config

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported
from causaldsl.engine.edits import Edit, Read, gather
from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.model.sites import Site
from tests import oracle

COMMON = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
GPT2 = {"vocab_size": 40, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 32}
CONFIGS = {
    "mistral": MistralConfig(**COMMON, sliding_window=None),
    "qwen3": Qwen3Config(**COMMON),
    "llama with biases": LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True),
    "llama, tied": LlamaConfig(**COMMON, tie_word_embeddings=True),
    "llama, scaled rotation": LlamaConfig(**COMMON, rope_parameters=LLAMA3_ROPE),
    "gpt2, attention scaled by layer": GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True),
    "gpt2, other activation": GPT2Config(**GPT2, activation_function="relu"),
}


def build(config: Any) -> tuple[Any, ModelDims]:
    module = AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.3 * noise + (parameter.dim() == 1))
    return module, shapes_from_config("tiny", config.to_dict(), "none")


@pytest.mark.parametrize("name", CONFIGS)
def test_family(name: str) -> None:
    module, shapes = build(CONFIGS[name])
    backend, double = ConeBackend(module, shapes), oracle.in_double(module)
    base, source = torch.randint(40, (2, 3, 9), generator=torch.Generator().manual_seed(1))
    positions = torch.tensor([[4, 8], [5, 6], [3, 8]])
    for kind in ("resid_pre", "mlp_hidden", "head.q", "head.z"):
        site = Site(kind, 1, 2 if "head" in kind else None)
        place = (site.kind, site.layer, site.head)
        value = gather(oracle.read(double, source, place), positions)
        edit = Edit(site, positions, value)

        def change(x: torch.Tensor, value: torch.Tensor = value) -> torch.Tensor:
            out = x.clone()
            for row in range(3):
                out[row, positions[row]] = value[row]
            return out

        wanted = oracle.logits(double, base, [(place, change)])
        assert (wanted - oracle.logits(double, base)).abs().max() > 1e-3
        clean = backend.clean(CleanPass(base, edits_at=[Read(site, positions)]))
        assert (logits_of(backend, clean, [edit]) - wanted).abs().max() < 1e-9


def test_a_sliding_window_is_refused_only_where_it_matters() -> None:
    module, shapes = build(MistralConfig(**COMMON, sliding_window=8))
    backend = ConeBackend(module, shapes)
    backend.clean(CleanPass(torch.zeros(1, 8, dtype=torch.long)))
    with pytest.raises(RunFailure, match="last 8 tokens"):
        backend.clean(CleanPass(torch.zeros(1, 9, dtype=torch.long)))


def test_a_rotation_that_depends_on_the_length_is_refused() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    module, shapes = build(LlamaConfig(**COMMON, rope_parameters=rope))
    with pytest.raises(Unsupported, match="dynamic"):
        ConeBackend(module, shapes)
