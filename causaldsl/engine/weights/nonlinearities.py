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


_USUAL: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_by_tanh,
    "gelu_pytorch_tanh": _gelu_by_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}
