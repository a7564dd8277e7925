"""Transformers and TransformerLens in true double precision.

Both round to float32 inside norms and the attention softmax even when the weights are float64::

    x.to(float32)                      ->  x
    softmax(x, dtype=float32)          ->  softmax(x)         for x in float64, in the block

so a float64 run carries errors of 1e-8, and its finite differences are useless. In float32 and
below nothing changes.

Rotary tables stay as transformers makes them: cosines and sines in float32, whose last digit is
another one on a GPU. So that a float64 run is the same on every device, the CPU makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def exact(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Keep float64 tensors in float64 for the block, if that is what the model computes in."""
    return _KeepDouble() if dtype == torch.float64 else nullcontext()


class _KeepDouble(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func not in _MEANT:  # nearly all calls
            return func(*args, **(kwargs or {}))
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64:
            if func is torch.Tensor.float or (
                func is torch.Tensor.to and torch.float32 in (*args[1:], kwargs.get("dtype"))
            ):
                return args[0]
            if func in _SOFTMAX and kwargs.get("dtype") == torch.float32:
                kwargs["dtype"] = None
        elif func in _TABLES and _elsewhere(args[0]):
            return func(args[0].cpu(), *args[1:], **kwargs).to(args[0].device)
        return func(*args, **kwargs)


_SOFTMAX = (F.softmax, torch.softmax, torch.Tensor.softmax)
_TABLES = (torch.Tensor.cos, torch.Tensor.sin, torch.cos, torch.sin)
_MEANT = frozenset([torch.Tensor.float, torch.Tensor.to, *_SOFTMAX, *_TABLES])


def _elsewhere(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.device.type != "cpu"
