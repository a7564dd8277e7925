"""An MLP's nonlinearity by its name in a Hugging Face configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


def activation(name: str) -> Activation:
    """The function of this name. The usual ones come without transformers, which loads slowly."""
    if name in _USUAL:
        return _USUAL[name]
    from transformers.activations import ACT2FN

    return cast(Activation, ACT2FN[name])


def _gelu_by_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _bloom_gelu(x: Tensor) -> Tensor:
    """BLOOM's own, with eight digits of sqrt(2 / pi)."""
    return x * 0.5 * (1.0 + (0.79788456 * x * (1 + 0.044715 * x * x)).tanh())


_USUAL: dict[str, Activation] = {
    "bloom_gelu": _bloom_gelu,
    "gelu": F.gelu,
    "gelu_new": _gelu_by_tanh,
    "gelu_pytorch_tanh": _gelu_by_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}
