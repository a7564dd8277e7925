"""Where the sites of a model are in its TransformerBridge.

Most are at the hook point that the site's row names. What a family does of its own is read from its
description: the bridge shows an embedding times its multiplier, and what BLOOM's norm makes of it;
OPT may norm the stream itself; softcaps and scales of logits come behind the last hook point.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from causaldsl.engine.upcast import upcast
from causaldsl.engine.weights.bridge import originals_of
from causaldsl.model.families.forms import Norm
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site

NORMED = "unembed.hook_in"
"""The hook point of what the unembedding reads."""
OUTPUT = "the model's output"
"""In the place of a hook point: the logits that the model gives."""


class Points:
    """The hook points of a bridge (or of any other ``HookedRootModule``), and the modules in it."""

    def __init__(self, model: Any, shapes: ModelDims):
        self.model, self.shapes, self.form = model, shapes, shapes.form
        first: dict[int, str] = {}
        self._names = {
            name: first.setdefault(id(point), name) for name, point in model.hook_dict.items()
        }
        """The first name of the hook point that each name has."""
        self._first = first
        self._originals: dict[str, nn.Module] = originals_of(model)
        wrapped = {id(part): name for name, part in self._originals.items()}
        self._wrappers: dict[str, nn.Module] = {}
        for part in model.modules():
            name = wrapped.get(id(getattr(part, "original_component", None)))
            if name is not None:
                self._wrappers.setdefault(name, part)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def of(self, site: Site) -> str | None:
        """The hook point where a site is seen; None if there is none."""
        if site.kind == "logits" and self.shapes.text:
            return OUTPUT
        if site.kind == "embed" and self.form is not None:
            return self.behind(self.form.embed.module)
        norm = self._norm_of_stream(site)
        if norm is not None:
            return self.behind(norm.module)
        return self._names.get(site.hook_name)

    def shape(self, site: Site) -> tuple[int, ...] | None:
        """What its hook point shows for a token: (heads, d_head) or (width,), where it is known."""
        z_of_all = site.word.written == "heads"  # read and written where z is seen
        width = self.shapes.d_head if z_of_all else site.width(self.shapes)
        if site.head is None or width is None:
            return None if width is None else (width,)
        shared = site.kind.endswith((".k", ".v"))
        return (self.shapes.n_kv_heads if shared else self.shapes.n_heads), width

    def attention_sum(self, layer: int) -> str:
        """Where the heads have been summed, before any norm or multiplier."""
        return self._names[f"blocks.{layer}.attn.hook_out"]

    def beside_attention(self, layer: int) -> str:
        """Where the stream is seen that attention's output is added to."""
        block = self.form.blocks[layer] if self.form is not None else None
        if block is not None and block.skip_normed and block.before_attention is not None:
            normed = self.behind(block.before_attention.module)
            assert normed is not None
            return normed
        return self._names[f"blocks.{layer}.hook_resid_pre"]

    def factor(self, site: Site) -> float:
        """What the hook point shows, as a multiple of the site."""
        return self.form.embed_scale if site.kind == "embed" and self.form is not None else 1.0

    def written(self, site: Site) -> str:
        """How a write joins: see ``SiteWord.written``."""
        return "there" if self._norm_of_stream(site) is not None else site.word.written

    def around(self, module: str) -> tuple[nn.Module, nn.Module] | None:
        """The hook points of a module's input and output, by its name in transformers' tree; None
        if the bridge has not wrapped it."""
        wrapper: Any = self._wrappers.get(module)
        return None if wrapper is None else (wrapper.hook_in, wrapper.hook_out)

    def behind(self, module: str) -> str | None:
        """The name of the hook point of a module's output."""
        around = self.around(module)
        return None if around is None else self._first.get(id(around[1]))

    def module(self, name: str) -> Any:
        """A module of transformers, as it was before the bridge wrapped it."""
        return self._originals[name]

    def W_O(self, layer: int) -> Tensor:
        """(heads, d_head, d_model)."""
        if self.form is None:
            known: Tensor = self.model.blocks[layer].attn.W_O
            return known.detach()
        place = self.form.blocks[layer].attention.out
        weight: Tensor = self.module(place.module).weight.detach()
        weight = weight if place.inputs_first else weight.T
        return weight.unflatten(0, (self.shapes.n_heads, self.shapes.d_head))

    def unembed(self, x: Tensor) -> Tensor:
        """Logits (..., V) of a known family, in float32 at least, before any soft cap."""
        assert self.form is not None
        module = self.module(self.form.unembed.module)
        logits = upcast(x) @ upcast(module.weight).T
        bias = getattr(module, "bias", None)
        logits = logits if bias is None else logits + upcast(bias)
        return logits * self.form.logit_scale

    def _norm_of_stream(self, site: Site) -> Norm | None:
        """The norm that makes this site, where a norm stands on the stream itself."""
        if site.kind != "resid_mid" or self.form is None or site.layer is None:
            return None
        return self.form.blocks[site.layer].stream_mid
