"""What sites mean on the hooks backend in families that do something of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import CleanPass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.weights.load import Loaded, load
from causaldsl.engine.weights.matrices import matrix
from causaldsl.model.catalog import resolve
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze
from tests.tiny import tiny_tokenizer

SIZES = {
    "vocab_size": 0,  # that of the tokenizer
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
MULTIPLIERS = {"embedding_multiplier": 3.0, "residual_multiplier": 0.6, "logits_scaling": 2.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "gemma2": {"final_logit_softcapping": 4.0, "query_pre_attn_scalar": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8},
    "olmo": {},
    "olmo2": {},
    "glm4": {},
    "granite": MULTIPLIERS,
    "cohere": {"use_qk_norm": True, "logit_scale": 0.3},
    "stablelm": {"use_parallel_residual": True, "qk_layernorm": True},
    "opt": {"do_layer_norm_before": False, "word_embed_proj_dim": 24, "ffn_dim": 48},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "mixtral": {"num_local_experts": 4},
}
LAYER, END = 1, 6
ALL = Freeze(attention=True, mlp=True, norms=True)
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Any:
    known: dict[tuple[str, str], tuple[Loaded, HooksBackend]] = {}
    base = tmp_path_factory.mktemp("families")

    def open_(family: str, dtype: str = "float64") -> tuple[Loaded, HooksBackend]:
        if not (base / family).is_dir():
            save(family, base / family)
        if (family, dtype) not in known:
            loaded = load(resolve(str(base / family), base), dtype=dtype)
            known[family, dtype] = loaded, HooksBackend(loaded.bridge, loaded.spec.shapes)
        return known[family, dtype]

    return open_


def save(family: str, folder: Path) -> None:
    folder.mkdir()
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    sizes = {**SIZES, **FAMILIES[family], "vocab_size": tokenizer.get_vocab_size()}
    if family == "falcon":  # it has no settings of these names
        sizes = {k: v for k, v in sizes.items() if k not in ("head_dim", "num_key_value_heads")}
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**sizes))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                is_scale = name.endswith("weight") and not family.startswith("gemma")
                parameter.copy_(0.3 * noise + float(is_scale))
            else:
                embeds = "embed" in name
                parameter.copy_(noise * (0.7 if embeds else 1.3 * parameter.shape[-1] ** -0.5))
    model.save_pretrained(folder)


def prompts() -> tuple[Tensor, Tensor]:
    base, source = torch.randint(
        5, 400, (2, 2, END + 1), generator=torch.Generator().manual_seed(1)
    )
    return base, source


def at_end(site: Site) -> Read:
    return Read(site, torch.full((2, 1), END))


def recorded(backend: HooksBackend, tokens: Tensor, *sites: Site) -> list[Tensor]:
    reads = [at_end(site) for site in sites]
    clean = backend.clean(CleanPass(tokens, reads=reads))
    return [clean.read(read) for read in reads]


def patch(backend: HooksBackend, site: Site) -> Edit:
    (value,) = recorded(backend, prompts()[1], site)
    return Edit(site, at_end(site).positions, value)


def change(backend: HooksBackend, edits: list[Edit], hold: Freeze | None = None) -> Tensor:
    """How far the edits move the logits (n, V)."""
    clean = backend.clean(CleanPass(prompts()[0]))
    return logits_of(backend, clean, edits, hold=hold) - logits_of(backend, clean)


def same(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@families
def test_what_a_head_adds_is_seen_by_what_follows(opened: Any, family: str) -> None:
    _, backend = opened(family)
    by_z = change(backend, [patch(backend, Site("head.z", LAYER, 2))])
    assert by_z.abs().max() > 1e-3
    same(change(backend, [patch(backend, Site("head.out", LAYER, 2))]), by_z)


@families
def test_outputs_are_what_is_added_to_the_stream(opened: Any, family: str) -> None:
    loaded, backend = opened(family)
    sites = [Site(kind, LAYER) for kind in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
    before, attention, mlp, after = recorded(backend, prompts()[0], *sites)
    if family == "opt":  # norms stand on the stream: what is added is normed with it
        (middle,) = recorded(backend, prompts()[0], Site("resid_mid", LAYER))
        norm = loaded.hf.model.decoder.layers[LAYER].self_attn_layer_norm
        same(norm(before + attention), middle)
        same(loaded.hf.model.decoder.layers[LAYER].final_layer_norm(middle + mlp), after)
    else:
        same(before + attention + mlp, after)


@families
def test_the_embedding_is_as_looked_up(opened: Any, family: str) -> None:
    loaded, backend = opened(family)
    (found,) = recorded(backend, prompts()[0], Site("embed"))
    same(found[:, 0], matrix(loaded, "W_E")[prompts()[0][:, END]])


@families
def test_steering_the_embedding_moves_it_by_as_much(opened: Any, family: str) -> None:
    _, backend = opened(family)
    (found,) = recorded(backend, prompts()[0], Site("embed"))
    step = torch.linspace(-1, 1, found.shape[-1], dtype=found.dtype).square().expand_as(found)
    edit = Edit(Site("embed"), at_end(Site("embed")).positions, step, add=True)
    clean = backend.clean(CleanPass(prompts()[0]))
    (moved,) = activations_of(backend, clean, [edit], [at_end(Site("embed"))])
    same(moved, found + step)
    assert change(backend, [edit]).abs().max() > 1e-3


@families
def test_direct_effects_add_up_when_all_is_held(opened: Any, family: str) -> None:
    """Of every head and MLP of a layer, one by one and together: no norm is left free."""
    _, backend = opened(family)
    edits = [patch(backend, Site("head.z", LAYER, head)) for head in range(4)]
    edits.append(patch(backend, Site("mlp_out", LAYER)))
    together = change(backend, edits, ALL)
    assert together.abs().max() > 1e-3
    same(sum(change(backend, [edit], ALL) for edit in edits), together)


@families
def test_nothing_changes_when_all_is_held_and_nothing_edited(opened: Any, family: str) -> None:
    _, backend = opened(family)
    (own,) = recorded(backend, prompts()[0], Site("head.z", LAYER, 1))
    edit = Edit(Site("head.z", LAYER, 1), at_end(Site("head.z", LAYER, 1)).positions, own)
    assert change(backend, [edit], ALL).abs().max() < 1e-9


@families
def test_logits_are_the_models_own(opened: Any, family: str) -> None:
    loaded, backend = opened(family, "float32")
    wanted = loaded.hf(prompts()[0]).logits[:, -1]
    found = logits_of(backend, backend.clean(CleanPass(prompts()[0])))
    assert (found - wanted).abs().max() < 1e-4
    half, in_half = opened(family, "bfloat16")
    own = half.hf(prompts()[0]).logits[:, -1].float()
    found = logits_of(in_half, in_half.clean(CleanPass(prompts()[0])))
    assert found.dtype == torch.float32
    assert (found - own).abs().max() < 0.03 * wanted.abs().max()


def test_the_stream_is_not_set_to_nothing_behind_a_multiplier(opened: Any) -> None:
    """Rounding would be all that is left of it, and the next norm would blow that up."""
    _, backend = opened("granite")
    every = torch.arange(END + 1).expand(2, -1)
    nothing = torch.zeros(2, END + 1, 32, dtype=torch.float64)
    site = Site("resid_mid", LAYER)
    clean = backend.clean(CleanPass(prompts()[0]))
    reads = [Read(Site("resid_post", LAYER), every)]
    with pytest.raises(RunFailure, match="exactly 0 by hooks"):
        activations_of(backend, clean, [Edit(site, every, nothing)], reads)


@pytest.mark.parametrize("family", ["gemma2", "granite", "cohere"])
def test_a_steered_logit_moves_by_as_much(opened: Any, family: str) -> None:
    """The site is the model's output, behind the scale and the soft cap."""
    _, backend = opened(family)
    d_vocab = backend.shapes.d_vocab
    site, step = Site("logits"), torch.full((2, 1, d_vocab), 0.5, dtype=torch.float64)
    edit = Edit(site, at_end(site).positions, step, add=True)
    same(change(backend, [edit]), step[:, 0])
