"""What a patch must give: raw PyTorch hooks on the Hugging Face module, whole forward passes.

Imports nothing from causaldsl. A place is (kind, layer, head) with the design's words; an edit is a
place and a function from the activation (n, T, d) to the new one. Slow and plain on purpose.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Place = tuple[str, int | None, int | None]
Change = Callable[[Tensor], Tensor]


def of_folder(folder: Path) -> nn.Module:
    """A saved model in double precision."""
    from transformers import AutoModelForCausalLM

    return in_double(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval())


def in_double(module: nn.Module) -> nn.Module:
    """A float64 copy that computes in float64 throughout (its norms would round to float32)."""
    double = copy.deepcopy(module).double().eval()
    double.set_attn_implementation("sdpa")
    for part in double.modules():
        if type(part).__name__.endswith("RMSNorm"):
            part.forward = types.MethodType(_rms_norm, part)
    return double.requires_grad_(False)


def _rms_norm(self: Any, x: Tensor) -> Tensor:
    return self.weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.variance_epsilon)


def logits(module: Any, tokens: Tensor, edits: Sequence[tuple[Place, Change]] = ()) -> Tensor:
    """Logits at the last position (n, V) with the edits in force, those at one place in order."""
    handles: list[Any] = []
    try:
        places = dict.fromkeys(place for place, _ in edits)
        # resid_mid is completed at the block's output, where a resid_post edit comes after it.
        for place in sorted(places, key=lambda place: place[0] != "resid_mid"):
            changes = [change for at, change in edits if at == place]
            handles += _hook(_Names(module), *place, _one_after_another(changes))
        return module(tokens).logits[:, -1]
    finally:
        for handle in handles:
            handle.remove()


def read(module: Any, tokens: Tensor, place: Place) -> Tensor:
    """The activation (n, T, d) at a place in a clean run."""
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return x

    with torch.no_grad():
        logits(module, tokens, [(place, keep)])
    (x,) = seen
    return x


def _one_after_another(changes: Sequence[Change]) -> Change:
    def change(x: Tensor) -> Tensor:
        for each in changes:
            x = each(x)
        return x

    return change


class _Names:
    """Where each family keeps its parts."""

    def __init__(self, module: Any):
        config = module.config
        self.family = config.model_type
        self.heads = config.num_attention_heads
        self.kv_heads = getattr(config, "num_key_value_heads", None) or self.heads
        self.d_head = config.hidden_size // self.heads
        self.unembed = module.lm_head
        if self.family == "gpt2":
            self.embed, self.blocks = module.transformer.wte, module.transformer.h
        elif self.family == "gpt_neox":
            self.embed, self.blocks = module.gpt_neox.embed_in, module.gpt_neox.layers
        else:
            self.embed, self.blocks = module.model.embed_tokens, module.model.layers

    def attention(self, block: Any) -> Any:
        by_family = {"gpt2": "attn", "gpt_neox": "attention"}
        return getattr(block, by_family.get(self.family, "self_attn"))

    def out(self, block: Any) -> Any:
        by_family = {"gpt2": "c_proj", "gpt_neox": "dense"}
        return getattr(self.attention(block), by_family.get(self.family, "o_proj"))

    def down(self, block: Any) -> Any:
        by_family = {"gpt2": "c_proj", "gpt_neox": "dense_4h_to_h"}
        return getattr(block.mlp, by_family.get(self.family, "down_proj"))

    def second_norm(self, block: Any) -> Any:
        return block.ln_2 if self.family == "gpt2" else block.post_attention_layernorm

    def W_O(self, block: Any, head: int) -> Tensor:
        """(d_head, d)."""
        weight = self.out(block).weight
        rows = slice(head * self.d_head, (head + 1) * self.d_head)
        return weight[rows] if self.family == "gpt2" else weight[:, rows].T


def _hook(
    names: _Names, kind: str, layer: int | None, head: int | None, change: Change
) -> list[Any]:
    if kind == "embed":
        return [_on_output(names.embed, change)]
    if kind == "logits":
        return [_on_output(names.unembed, change)]
    block = names.blocks[layer]
    if kind == "resid_pre":
        return [_on_input(block, change)]
    if kind == "resid_post":
        return [_on_output(block, change)]
    if kind == "resid_mid":
        return _on_resid_mid(names, block, change)
    if kind == "attn_out":
        return [_on_output(names.attention(block), change)]
    if kind == "mlp_in":
        return [_on_input(block.mlp, change)]
    if kind == "mlp_hidden":
        return [_on_input(names.down(block), change)]
    if kind == "mlp_out":
        return [_on_output(block.mlp, change)]
    assert head is not None
    part = kind.split(".")[1]
    columns = slice(head * names.d_head, (head + 1) * names.d_head)
    if part == "z":
        return [_on_input(names.out(block), _in_columns(columns, change))]
    if part == "out":
        return [_on_head_out(names, block, head, columns, change)]
    return [_on_qkv(names, block, part, head, columns, change)]


def _on_qkv(names: _Names, block: Any, part: str, head: int, columns: slice, change: Change) -> Any:
    attention = names.attention(block)
    d = names.d_head
    if names.family == "gpt2":  # [q of all heads, k of all, v of all]
        first = "qkv".index(part) * names.heads * d + head * d
        return _on_output(attention.c_attn, _in_columns(slice(first, first + d), change))
    if names.family == "gpt_neox":  # [q, k, v of head 0, q, k, v of head 1, ...]
        first = head * 3 * d + "qkv".index(part) * d
        return _on_output(attention.query_key_value, _in_columns(slice(first, first + d), change))
    return _on_output(getattr(attention, f"{part}_proj"), _in_columns(columns, change))


def _on_head_out(names: _Names, block: Any, head: int, columns: slice, change: Change) -> Any:
    def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        y = inputs[0][..., columns] @ names.W_O(block, head)
        return output + change(y) - y

    return names.out(block).register_forward_hook(hook)


def _on_resid_mid(names: _Names, block: Any, change: Change) -> list[Any]:
    """Change what the norm reads, and add the same change to what the block gives."""
    moved: list[Tensor] = []

    def into_norm(mid: Tensor) -> Tensor:
        new = change(mid)
        moved.append(new - mid)
        return new

    return [
        _on_input(names.second_norm(block), into_norm),
        _on_output(block, lambda x: x + moved[-1]),
    ]


def _in_columns(columns: slice, change: Change) -> Change:
    def whole(x: Tensor) -> Tensor:
        out = x.clone()
        out[..., columns] = change(x[..., columns])
        return out

    return whole


def _on_input(part: nn.Module, change: Change) -> Any:
    return part.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))


def _on_output(part: nn.Module, change: Change) -> Any:
    def hook(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return part.register_forward_hook(hook)
