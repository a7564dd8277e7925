"""What a dictionary computes, as data: read from its configuration, and computed by the engine.

For an activation x (d_in,) and F features, with ``scale`` s, and m the mean of x's numbers::

    u = norm(s (x - m if centred)) - (b_dec if minus_bias)
    h = u W_enc + b_enc
    a = relu(h) | relu(h) [h > threshold] | the k largest of relu(h) | [h > 0] relu(e^r h' + b_mag)
    y = (norm^-1(a W_dec + b_dec) + x W_skip) / s

where norm is nothing, a rescaling to length sqrt(d_in) or a layer norm, h' is h without its bias,
and norm^-1 (of an autoencoder) undoes the norm of this x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Activation = Literal["relu", "jumprelu", "topk", "groupmax", "gated"]
Norm = Literal["none", "constant_norm", "layer_norm"]
SIZES = {
    "W_enc": ("d_in", "features"),
    "b_enc": ("features",),
    "W_dec": ("features", "d_out"),
    "b_dec": ("d_out",),
    "threshold": ("features",),
    "r_mag": ("features",),
    "b_mag": ("features",),
    "decoder_scale": ("features",),
    "W_skip": ("d_in", "d_out"),
}
"""The tensors that a dictionary can have, as (inputs, outputs)."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor is kept: its name in the file, and what is done to what is read."""

    name: str
    transposed: bool = False
    is_log: bool = False
    may_be_one: bool = False
    """Whether one number may stand there for that of every feature."""


@dataclass(frozen=True)
class Form:
    """A dictionary as its files describe it. ``config`` and ``weights`` are files of ``folder``."""

    layout: str
    folder: Path
    config: str
    weights: str
    d_in: int
    d_out: int
    features: int
    activation: Activation
    tensors: dict[str, Stored] = field(hash=False)
    k: int = 0
    minus_bias: bool = True
    norm: Norm = "none"
    rescaled: bool = False
    """Whether the k largest are those of h times the length of their row of the decoder, and a is
    that; the decoder then divides by it."""
    unit_rows: bool = False
    """Whether features are measured so that the rows of the decoder have length 1."""
    centred: bool = False
    """Whether it reads activations of a model whose weights write nothing along (1, 1, ..)."""
    folded: bool = False
    """Whether it was trained on a model whose norms have their weights in the matrices behind."""
    scale: float = 1.0
    transcoder: bool = False
    hook: str = ""
    """Where its files say that it reads; "" where they don't."""
    hook_out: str = ""
    layer: int | None = None
    model: str = ""
    """The model that its files say it was trained on."""
    bos: bool | None = None
    """Whether the texts that it was trained on began with BOS; None where its files don't say."""
    sha256: str = ""
    """Of the file of its weights, as that was when the program was checked."""

    def size(self, tensor: str) -> tuple[int, ...]:
        """The shape of a tensor, as (inputs, outputs)."""
        return tuple(getattr(self, size) for size in SIZES[tensor])

    @property
    def by_feature(self) -> bool:
        """Whether a feature's activation rests on its own weights alone."""
        return self.activation in ("relu", "jumprelu", "gated")


@dataclass(frozen=True, order=True)
class Dictionary:
    """A dictionary as a program has it: its name, what identifies it, and where it acts.

    ``reads`` and ``writes`` are kinds of sites of one layer, or the names of hooks.
    """

    name: str
    digest: str
    reads: str
    writes: str
    form: Form = field(compare=False, repr=False)
