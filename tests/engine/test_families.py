"""Architectures beyond those of tests/tiny.py, and odd settings of known ones, in the cone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
    XGLMConfig,
)

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported, read_decoder
from causaldsl.engine.edits import Edit, Read, gather
from causaldsl.engine.exact import exact
from causaldsl.engine.open import Backends
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.model.sites import Site
from causaldsl.plan.entries import expected_backend
from tests import oracle
from tests.families.models import FAMILIES, LAYERS, ON_HOOKS, WIDTH, family_folder

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


class Opened:
    """A family's random model as a program opens it, in one dtype."""

    def __init__(self, folder: Path, name: str, dtype: str):
        self.loaded = load(resolve(str(family_folder(folder, name)), folder), dtype=dtype)
        self.cone = ConeBackend(self.loaded.hf, self.loaded.spec.shapes)

    def logits(self, tokens: Tensor, hook: Any = None) -> Tensor:
        """The module's own, (V,), after one prompt, with a hook on the input of block 1."""
        blocks = next(
            part
            for part in self.loaded.hf.modules()
            if isinstance(part, nn.ModuleList) and len(part) == LAYERS
        )
        handle = blocks[1].register_forward_pre_hook(hook or (lambda *_: None), with_kwargs=True)
        with torch.no_grad(), exact(self.loaded.dtype):
            found: Tensor = self.loaded.hf(tokens[None]).logits[0, -1]
        handle.remove()
        return found


LENGTHS = torch.tensor([5, 14, 9])
"""Of prompts, two of which outgrow the windows."""


def prompts() -> Tensor:
    return torch.randint(2, 60, (3, 14), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ON_HOOKS])
def test_every_family_on_prompts_of_different_lengths(tmp_path: Path, name: str) -> None:
    """Clean, and with the stream changed where most later positions do not see it any more."""
    one, tokens, position = Opened(tmp_path, name, "float64"), prompts(), 2
    at = torch.full((3, 1), position)
    value = torch.randn(3, 1, WIDTH, generator=torch.Generator().manual_seed(4)).double()
    site = Site("resid_pre", 1)
    clean = one.cone.clean(CleanPass(tokens, edits_at=[Read(site, at)], lengths=LENGTHS))
    plain = logits_of(one.cone, clean)
    edited = logits_of(one.cone, clean, [Edit(site, at, value)])
    for row, length in enumerate(LENGTHS.tolist()):

        def change(_: Any, args: Any, kwargs: Any, row: int = row) -> Any:
            x = (args[0] if args else kwargs["hidden_states"]).clone()
            x[0, position] = value[row, 0]
            return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

        prompt = tokens[row, :length]
        wanted, changed = one.logits(prompt), one.logits(prompt, change)
        assert (plain[row] - wanted).abs().max() < 1e-9
        assert (edited[row] - changed).abs().max() < 1e-9
        assert (changed - wanted).abs().max() > 1e-7


@pytest.mark.parametrize(
    "name", ["gemma2", "cohere", "granite", "gpt_oss", "falcon_alibi", "bloom"]
)
def test_half_precision_is_as_near_as_the_modules_own(tmp_path: Path, name: str) -> None:
    """Both lie about as far from single precision as from each other."""
    half, single = (Opened(tmp_path, name, dtype).cone for dtype in ("bfloat16", "float32"))
    ours, theirs, right = half.probed, half.answers.float(), single.answers
    rounding = (theirs - right).norm()
    assert 0 < (ours - theirs).norm() < 2 * rounding
    assert (ours - right).norm() < 1.5 * rounding


def test_a_rotation_that_depends_on_the_length_is_served_where_it_does_not(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    module, shapes = build(LlamaConfig(**COMMON, rope_parameters=rope))
    backend = ConeBackend(module, shapes)
    longest = COMMON["max_position_embeddings"]
    assert backend.decoder.longest == longest
    tokens = torch.randint(40, (1, longest + 1), generator=torch.Generator().manual_seed(5))
    kept = logits_of(backend, backend.clean(CleanPass(tokens[:, 1:])))
    with exact(torch.float64), torch.no_grad():
        assert (kept - module(tokens[:, 1:]).logits[:, -1]).abs().max() < 1e-9
    with pytest.raises(RunFailure, match=f"more than {longest} tokens"):
        backend.clean(CleanPass(tokens))


def test_longer_prompts_go_to_the_hooks_with_a_note(tmp_path: Path) -> None:
    folder = family_folder(tmp_path, "llama")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load(resolve(str(folder), tmp_path))
    longest, notes = config["max_position_embeddings"], list[str]()
    assert "cone" in Backends(loaded, notes, longest=longest)
    assert notes == []
    assert "cone" not in Backends(loaded, notes, longest=longest + 1)
    (note,) = notes
    assert note.endswith(f"more than {longest} tokens, and one here has {longest + 1}")
    shapes = loaded.spec.shapes
    planned = [expected_backend(shapes, longest=n)([]) for n in (longest, longest + 1)]
    assert planned == ["cone", "hooks"]


def test_a_family_without_a_description_is_refused() -> None:
    config = XGLMConfig(vocab_size=40, d_model=24, ffn_dim=24, num_layers=1, attention_heads=4)
    module = AutoModelForCausalLM.from_config(config)
    with pytest.raises(Unsupported, match="xglm"):
        read_decoder(module)
