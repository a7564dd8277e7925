"""What a hook of TransformerLens, or a module of another tool, is called here."""

import pytest

from causaldsl.vocabulary.foreign import site_meant
from causaldsl.vocabulary.sites import SITE_WORDS

HOOKS = {
    "hook_embed": "embed",
    "embed.hook_out": "embed",
    "blocks.3.hook_in": "resid_pre[3]",
    "blocks.3.hook_resid_pre": "resid_pre[3]",
    "blocks.3.ln1.hook_in": "resid_pre[3]",
    "blocks.3.attn.hook_q": "head[3.HEAD].q",
    "blocks.3.attn.hook_k": "head[3.HEAD].k",
    "blocks.3.attn.hook_v": "head[3.HEAD].v",
    "blocks.3.attn.q.hook_out": "head[3.HEAD].q",
    "blocks.3.attn.k.hook_out": "head[3.HEAD].k",
    "blocks.3.attn.v.hook_out": "head[3.HEAD].v",
    "blocks.3.attn.hook_pattern": "head[3.HEAD].pattern",
    "blocks.3.attn.hook_z": "head[3.HEAD].z",
    "blocks.3.attn.o.hook_in": "head[3.HEAD].z",
    "blocks.3.attn.hook_result": "head[3.HEAD].out",
    "blocks.3.attn.hook_out": "attn_out[3]",
    "blocks.3.hook_attn_out": "attn_out[3]",
    "blocks.3.ln2.hook_in": "resid_mid[3]",
    "blocks.3.hook_resid_mid": "resid_mid[3]",
    "blocks.3.mlp.hook_in": "mlp_in[3]",
    "blocks.3.mlp.hook_post": "mlp_hidden[3]",
    "blocks.3.mlp.out.hook_in": "mlp_hidden[3]",
    "blocks.3.mlp.hook_out": "mlp_out[3]",
    "blocks.3.hook_mlp_out": "mlp_out[3]",
    "blocks.3.hook_out": "resid_post[3]",
    "blocks.3.hook_resid_post": "resid_post[3]",
    "unembed.hook_out": "logits",
    "hook_unembed": "logits",
}
"""Those that have a word."""
NO_WORD = (
    "embed.hook_in",
    "pos_embed.hook_out",
    "hook_pos_embed",
    "rotary_emb.hook_cos",
    "blocks.3.hook_mlp_in",
    "blocks.3.hook_attn_in",
    "blocks.3.hook_q_input",
    "blocks.3.ln1.hook_out",
    "blocks.3.ln1.hook_normalized",
    "blocks.3.ln1.hook_scale",
    "blocks.3.ln2.hook_out",
    "blocks.3.ln2.hook_normalized",
    "blocks.3.ln2.hook_scale",
    "blocks.3.attn.hook_in",
    "blocks.3.attn.hook_attn_scores",
    "blocks.3.attn.hook_hidden_states",
    "blocks.3.attn.hook_rot_q",
    "blocks.3.attn.q.hook_in",
    "blocks.3.attn.qkv.hook_out",
    "blocks.3.attn.q_norm.hook_out",
    "blocks.3.attn.o.hook_out",
    "blocks.3.mlp.hook_pre",
    "blocks.3.mlp.hook_pre_linear",
    "blocks.3.mlp.in.hook_in",
    "blocks.3.mlp.in.hook_out",
    "blocks.3.mlp.gate.hook_out",
    "blocks.3.mlp.out.hook_out",
    "ln_final.hook_in",
    "ln_final.hook_out",
    "ln_final.hook_normalized",
    "unembed.hook_in",
)
MODULES = {
    "model.layers[3].mlp.down_proj.output": "mlp_out[3]",
    "model.layers[3].mlp.act_fn.output": "mlp_hidden[3]",
    "model.layers[3].self_attn.q_proj.output": "head[3.HEAD].q",
    "model.layers[3].output[0]": "resid_post[3]",
    "model.layers[3].input": "resid_pre[3]",
    "lm_head.output": "logits",
    "model.layers[3].mlp.gate_proj.output": None,
    "model.layers[3].mlp.down_proj.input": None,
    "model.layers[3].input_layernorm.output": None,
}


@pytest.mark.parametrize(("hook", "site"), HOOKS.items())
def test_a_hook_with_a_word(hook: str, site: str) -> None:
    assert site_meant(hook) == site


@pytest.mark.parametrize("hook", NO_WORD)
def test_a_hook_without_one_is_written_as_a_hook(hook: str) -> None:
    assert site_meant(hook) == f'hook("{hook}")'


@pytest.mark.parametrize(("path", "site"), MODULES.items())
def test_a_module_is_what_it_gives(path: str, site: str | None) -> None:
    assert site_meant(path) == site


def test_every_hook_of_the_table_of_sites_is_here() -> None:
    hooks = {word.hook.format(layer=3) for word in SITE_WORDS.values()}
    assert hooks <= HOOKS.keys()
