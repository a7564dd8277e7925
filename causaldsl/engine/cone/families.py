"""Reading a decoder's weights as the description of its family says (``model/families``).

A description is no proof of having understood a forward pass: the backend compares logits with the
module's own before it serves anything (``backend.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import count, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from causaldsl.engine.cone.alibi import Alibi, slopes
from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.cone.mlp import MLP, Experts, Router, Stacked, clipped_swiglu, gated
from causaldsl.engine.cone.norms import AcrossHeads, LayerNorm, Norm, RMSNorm, UpcastNorm
from causaldsl.engine.cone.rotary import Rotary, by_frequency, from_table
from causaldsl.engine.cone.weights import (
    Attention,
    Block,
    Decoder,
    Joint,
    Kind,
    Separate,
    Unembedding,
)
from causaldsl.engine.upcast import upcast, upcast_dtype
from causaldsl.engine.weights.checkpoint import Checkpoint
from causaldsl.engine.weights.known_answers import Tables, tables_of
from causaldsl.engine.weights.nonlinearities import activation
from causaldsl.model.families import forms
from causaldsl.model.families.summary import without_cone
from causaldsl.model.families.table import describe


class Unsupported(Exception):
    """Why the cone backend can't serve a model; the caller falls back to hooks and says so."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def read_decoder(source: nn.Module | Checkpoint) -> Decoder:
    """The weights of a Hugging Face causal language model. Raises :class:`Unsupported`."""
    entries, tensors, tables = _parts(source)
    family = str(entries.get("model_type", type(source).__name__))
    told = describe(entries)
    if told is None:
        raise Unsupported(f"its forward pass is not written for the {family} architecture")
    reason = (
        "it attends to an encoder" if entries.get("add_cross_attention") else without_cone(told)
    )
    if reason:
        raise Unsupported(reason)
    try:
        return _upcast_end(_Reader(told, tensors, tables).decoder)
    except (KeyError, AttributeError) as missing:
        raise Unsupported(f"this {family} model has no {missing}") from missing


def _parts(
    source: nn.Module | Checkpoint,
) -> tuple[Mapping[str, Any], Mapping[str, Tensor], Tables]:
    """The configuration's entries, the parameters by name, and the tables.

    A ``TransformerBridge`` that was booted from the module has wrapped its parts, which puts
    ``_original_component`` into their names.
    """
    if isinstance(source, Checkpoint):
        return source.module.config, source.tensors, source.module.tables
    config: Any = getattr(source, "config", None)
    entries = {} if config is None else json.loads(config.to_json_string(use_diff=False))
    # The innermost of two with the same plain name comes last, and is the original.
    tensors = {
        _plain(name): tensor.detach()
        for name, tensor in source.named_parameters(remove_duplicate=False)
    }
    return entries, tensors, tables_of(source)


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_original_component")


def _upcast_end(decoder: Decoder) -> Decoder:
    """A model in half precision gets copies of its last norm and unembedding in float32."""
    if upcast_dtype(decoder.embed.dtype) == decoder.embed.dtype:
        return decoder
    norm, head = decoder.norm, decoder.unembed
    projection = head.projection
    return replace(
        decoder,
        norm=None if norm is None else UpcastNorm(_in_single(norm)),
        unembed=replace(
            head,
            linear=_in_single(head.linear),
            projection=None if projection is None else _in_single(projection),
        ),
    )


def _in_single(part: Any) -> Any:
    """A layer with its tensors in float32."""
    found = {field.name: getattr(part, field.name) for field in fields(part)}
    return replace(
        part, **{name: upcast(value) for name, value in found.items() if isinstance(value, Tensor)}
    )


@dataclass(eq=False)
class _Reader:
    """A description, parameters by their names in the module, and its tables."""

    told: forms.Architecture
    tensors: Mapping[str, Tensor]
    tables: Tables

    @cached_property
    def decoder(self) -> Decoder:
        told, first = self.told, self.told.blocks[0].attention
        embed, positions = self.tensors[told.embed.weight], None
        if told.positions is not None:
            positions = self.tensors[f"{told.positions.module}.weight"][told.positions.offset :]
        return Decoder(
            embed=embed,
            positions=positions,
            kinds=tuple(self._kind(told, where) for (_, where), told in self._kinds.items()),
            blocks=tuple(self._block(block) for block in told.blocks),
            norm=self._norm(told.last_norm),
            unembed=Unembedding(
                self._linear(told.unembed),
                told.logit_scale,
                told.logit_softcap,
                self._maybe(told.project_out),
            ),
            n_heads=first.n_heads,
            n_kv_heads=first.n_kv_heads,
            d_head=first.d_head,
            embed_scale=self._embed_scale(embed),
            embed_norm=self._norm(told.embed_norm),
            project_in=self._maybe(told.project_in),
        )

    def _embed_scale(self, embed: Tensor) -> float | Tensor | None:
        """The scale of embeddings, rounded as the module has it if it is one of its buffers."""
        kept = self.tables.tensors.get("embed_scale")
        if kept is not None:
            return kept.to(embed.dtype)
        return None if self.told.embed_scale == 1.0 else self.told.embed_scale

    def _block(self, told: forms.Block) -> Block:
        return Block(
            norm1=self._norm(told.before_attention),
            attention=self._attention(told.attention),
            norm2=self._norm(told.before_mlp),
            mlp=self._mlp(told.mlp),
            post1=self._norm(told.after_attention),
            post2=self._norm(told.after_mlp),
            stream1=self._norm(told.stream_mid),
            stream2=self._norm(told.stream_post),
            parallel=told.parallel,
            multiplier=told.add_scale,
        )

    @cached_property
    def _kinds(self) -> dict[Any, forms.Attention]:
        """An example of each kind of layer on each device, as far as positions matter."""
        found: dict[Any, forms.Attention] = {}
        for block in self.told.blocks:
            found.setdefault(self._kind_of(block.attention), block.attention)
        return found

    def _kind_of(self, told: forms.Attention) -> tuple[Any, torch.device]:
        return (told.rotary, told.window, told.alibi), self.tensors[told.out.weight].device

    def _kind(self, told: forms.Attention, device: torch.device) -> Kind:
        rotary = None if told.rotary is None else self._rotary(told.rotary, told.d_head)
        alibi = None
        if told.alibi == "after":
            alibi = Alibi(slopes(told.n_heads, told.slopes).to(device))
        elif told.alibi == "before":  # Falcon, which rounds its slopes
            alibi = Alibi(slopes(told.n_heads, told.slopes).bfloat16().to(device), told.scale)
        return Kind(device, rotary, told.window, alibi)

    def _rotary(self, told: forms.Rotary, d_head: int) -> Rotary:
        of = f"{told.of}_" if told.of else ""
        table, frequencies = (
            self.tables.tensors.get(name) for name in ("embed_positions", f"{of}inv_freq")
        )
        if frequencies is not None:
            scale = self.tables.numbers.get(f"{of}attention_scaling", 1.0)
            angles, pairs = by_frequency(frequencies, scale), len(frequencies)
        elif table is not None:
            angles, pairs = from_table(table), table.shape[-1] // 2
        else:
            raise KeyError("frequencies of a rotary embedding")
        if 2 * pairs != told.dims:
            raise Unsupported(f"it turns {2 * pairs} dimensions of a head, not {told.dims}")
        return Rotary(angles, told.dims, d_head, told.pairs == "interleaved", told.longest)

    def _attention(self, told: forms.Attention) -> Attention:
        return Attention(
            qkv=self._qkv(told),
            out=self._linear(told.out),
            scale=told.scale,
            d_head=told.d_head,
            kind=list(self._kinds).index(self._kind_of(told)),
            q_norm=self._norm(told.q_norm),
            k_norm=self._norm(told.k_norm),
            softcap=told.softcap,
            sinks=self.tensors[told.sinks] if told.sinks else None,
            clip=told.clip,
        )

    def _qkv(self, told: forms.Attention) -> Separate | Joint:
        if told.q.order == "grouped":
            whole = self._linear(replace(told.q, part="whole"))
            return Joint(whole, told.n_kv_heads, told.d_head)
        rows = [(told.q, told.n_heads), (told.k, told.n_kv_heads), (told.v, told.n_kv_heads)]
        return Separate(*(self._heads(stored, heads, told) for stored, heads in rows))

    def _heads(self, stored: forms.Stored, heads: int, told: forms.Attention) -> Linear:
        """The rows of q, k or v: a view where they follow each other, else a copy."""
        whole = self._linear(stored)
        sizes = told.n_heads, told.n_kv_heads, told.d_head
        first = [stored.first_row(head, *sizes) for head in range(heads)]
        if first == list(range(first[0], first[0] + heads * told.d_head, told.d_head)):
            return _rows(whole, slice(first[0], first[0] + heads * told.d_head))
        rows = torch.cat([torch.arange(row, row + told.d_head) for row in first])
        return _rows(whole, rows.to(whole.weight.device))

    def _mlp(self, told: forms.Mlp) -> MLP | Experts:
        if told.experts is not None:
            return self._experts(told.experts, told.act)
        assert told.up is not None
        assert told.down is not None
        return MLP(
            up=self._half(told.up),
            down=self._linear(told.down),
            act=activation(told.act),
            gate=None if told.gate is None else self._half(told.gate),
        )

    def _half(self, stored: forms.Stored) -> Linear:
        """A whole matrix, or gate or up of one that has both."""
        whole = self._linear(stored)
        if stored.order == "separate":
            return whole
        middle = len(whole.weight) // 2
        return _rows(whole, slice(0, middle) if stored.part == "gate" else slice(middle, None))

    def _experts(self, told: forms.Experts, act: str) -> Experts:
        shared = None
        if told.shared is not None and told.shared_gate is not None:
            mlp = self._mlp(told.shared)
            assert isinstance(mlp, MLP)
            shared = mlp, self._linear(told.shared_gate)
        own = activation(act)
        return Experts(
            router=Router(
                self._linear(told.router),
                told.per_token,
                told.softmax == "chosen",
                told.renormalised,
            ),
            gate_up=self._stacked(told.gate_up, told),
            down=self._stacked(told.down, told),
            neurons=gated(own) if told.limit is None else clipped_swiglu(told.limit, told.alpha),
            interleaved=told.interleaved,
            shared=shared,
        )

    def _stacked(self, name: str, told: forms.Experts) -> Stacked:
        weight = self.tensors[name]
        bias = self.tensors[f"{name}_bias"] if told.biases else None
        return Stacked(weight.transpose(1, 2) if told.inputs_first else weight, bias)

    def _maybe(self, stored: forms.Stored | None) -> Linear | None:
        return None if stored is None else self._linear(stored)

    def _linear(self, stored: forms.Stored) -> Linear:
        weight = self.tensors[stored.weight]
        return Linear(weight.T if stored.inputs_first else weight, self.tensors.get(stored.bias))

    def _norm(self, told: forms.Norm | None) -> Norm | None:
        if told is None:
            return None
        weight = None if told.weight == "none" else self._of_norm(f"{told.module}.weight")
        if told.kind == "rms":
            assert weight is not None
            weight = 1.0 + upcast(weight) if told.weight == "one_plus" else weight
            norm: Norm = RMSNorm(weight, told.eps, told.rounds_first)
        else:
            assert told.weight == "none" or weight is not None
            if weight is not None and told.weight == "one_plus":
                weight = weight + 1
            norm = LayerNorm(weight, self._of_norm(f"{told.module}.bias"), told.eps)
        return AcrossHeads(norm) if told.over == "projection" else norm

    def _of_norm(self, name: str) -> Tensor | None:
        """A norm's parameter, if there is one; put together of those of all heads."""
        if "{h}" not in name:
            return self.tensors.get(name)
        names = takewhile(self.tensors.__contains__, (name.format(h=head) for head in count()))
        found = [self.tensors[each] for each in names]
        return torch.stack(found) if found else None


def _rows(whole: Linear, rows: slice | Tensor) -> Linear:
    return Linear(whole.weight[rows], None if whole.bias is None else whole.bias[rows])
