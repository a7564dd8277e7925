"""Families that are not described run on hooks; a site that TransformerLens keeps otherwise than
its row says is refused, never read as something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.diagnostics import Mistake
from causaldsl.model.shapes import shapes_from_config
from tests.families.anatomy import _BY_TYPE, _MOE
from tests.families.arms import Arm, At, Do
from tests.families.bench import Bench, bench, problems
from tests.families.models import FAMILIES, Tiny

LATENT = Tiny(
    "DeepseekV3Config",
    {
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "n_group": 1,
        "topk_group": 1,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 8,
        "first_k_dense_replace": 1,
    },
)
"""Its queries, keys and values come from a latent one; its heads are kept one after the other."""


@pytest.fixture
def latent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(FAMILIES, "deepseek", LATENT)
    monkeypatch.setitem(_BY_TYPE, "deepseek_v3", _MOE)
    return bench(tmp_path, "deepseek")


def test_what_is_shown_as_it_should_be_is_right(latent: Bench) -> None:
    kinds = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    arms = [Arm((Do("patch", At(kind, 1)),)) for kind in kinds]
    assert problems(latent, arms, [], "cone") == []


def test_heads_that_are_shown_otherwise_are_refused(latent: Bench) -> None:
    (said,) = problems(latent, [Arm((Do("patch", At("head.z", 1, 1)),))], [], "hooks")
    assert (
        "RunFailure: TransformerLens shows head[1.1].z as numbers of shape (8, 4) a token" in said
    )
    assert "attn_out or resid_post" in said


def test_sizes_by_layer_are_refused_in_plain_words() -> None:
    config = {"model_type": "gemma3n_text", "hidden_size": 8, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 2, "vocab_size": 9, "intermediate_size": [16, 16]}
    assert shapes_from_config("m", config, "").d_mlp == 16
    with pytest.raises(Mistake, match="several values of intermediate_size"):
        shapes_from_config("m", config | {"intermediate_size": [16, 32]}, "")
