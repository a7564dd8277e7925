"""The dimensions of a model, read from its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from causaldsl.model.families.config import Config
from causaldsl.model.families.forms import Architecture, Mlp
from causaldsl.model.families.table import describe


class ModelDims(BaseModel):
    """What checking and compiling need to know of a model.

    Sizes are in units of activations; ``parallel`` says that attention and MLP read the same
    residual stream; ``fingerprint`` identifies configuration and weights, and enters every content
    key of the graph.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    architecture: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    gated_mlp: bool
    parallel: bool = False
    fingerprint: str
    text: bool = True
    """False for a toy model whose inputs are numbers, not tokens."""
    experts: bool = False
    """Whether a model of a family unknown to us speaks of experts in its configuration."""
    form: Architecture | None = Field(default=None, repr=False)
    """How its blocks are built; None for a toy model, and for a family unknown to us."""

    @property
    def d_embed(self) -> int:
        """Width of a token's embedding, which some models project to their own."""
        return self.d_model if self.form is None else self.form.d_embed

    def mlp(self, layer: int) -> Mlp | None:
        """How a layer's MLP is built; None where that is not known."""
        return None if self.form is None else self.form.blocks[layer].mlp

    def has_neurons(self, layer: int) -> bool:
        """Whether a layer's MLP has one hidden layer, and so one matrix out of it."""
        mlp = self.mlp(layer)
        return not self.experts if mlp is None else mlp.kind != "experts"


def shapes_from_config(name: str, config: Mapping[str, Any], fingerprint: str) -> ModelDims:
    """Dimensions from a Hugging Face ``config.json``.

    A multimodal configuration is read for its text part. Of a family that is not in
    ``families/table.py`` the usual keys are read, and a SiLU is taken as the sign of a gated MLP.

    Raises:
        Mistake: for one that we can't read.
    """
    told = Config({**config, **(config.get("text_config") or {})}, name)
    n_layers, d_model = told.n_layers, told.d_model
    form = describe(config, name)
    own = _unknown(told) if form is None else _known(form)
    architectures = told.get("architectures") or [str(told.get("model_type", ""))]
    return ModelDims(
        name=name,
        architecture=str(architectures[0]),
        n_layers=n_layers,
        d_model=d_model,
        d_vocab=told.d_vocab,
        n_ctx=told.n_ctx,
        fingerprint=fingerprint,
        form=form,
        **own,
    )


def _known(form: Architecture) -> dict[str, Any]:
    first = form.blocks[0]
    dense = [block.mlp for block in form.blocks if block.mlp.kind != "experts"]
    return {
        "n_heads": first.attention.n_heads,
        "n_kv_heads": first.attention.n_kv_heads,
        "d_head": first.attention.d_head,
        "d_mlp": (dense[0] if dense else first.mlp).d_hidden,
        "gated_mlp": any(mlp.kind == "gated" for mlp in dense),
        "parallel": first.parallel,
    }


def _unknown(told: Config) -> dict[str, Any]:
    return {
        "n_heads": told.n_heads,
        "n_kv_heads": told.n_kv_heads,
        "d_head": told.d_head(),
        "d_mlp": told.d_mlp,
        "gated_mlp": told.get("hidden_act") == "silu",
        "experts": any("expert" in key for key in told.entries),
    }
