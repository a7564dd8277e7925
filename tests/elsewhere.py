"""Devices that are not the CPU, on a machine that has none: tensors "elsewhere".

In the block of ``elsewhere()``, tensors of the devices ``meta``, ``meta:0`` and so on have values
after all: those of a CPU tensor inside. An operation on tensors of two devices fails where it would
on a GPU, and so does whatever needs the values on the CPU without asking for them. Allowed are, as
there, copies, single numbers of the CPU, and indices that lie on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE, SEVERAL = "meta", ("meta:0", "meta:1")
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::lift_fresh", "aten::_copy_from"}
_INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}
_MADE = (
    torch.tensor, torch.as_tensor, torch.zeros, torch.ones, torch.full, torch.empty, torch.arange,
    torch.eye, torch.linspace, torch.randn, torch.randint, torch.rand,
)  # fmt: skip


class Elsewhere(Tensor):
    """A tensor that says it is on another device; ``inner`` has its values."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, device: Any = DEVICE) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl


class MixedDevices(Exception):
    """What a GPU would have refused."""


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Makers(TorchFunctionMode):
    """Tensors made on the device are made on the CPU and taken there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist:  # asks for the values, wherever they are
            return func(_inner(args[0]))
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], _without_lists(args[1]), *args[2:])
        if func in _MADE and kwargs.get("device") is not None and _is_there(kwargs["device"]):
            return Elsewhere(func(*args, **kwargs | {"device": "cpu"}), kwargs["device"])
        return func(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Make the device work."""
    with _Operations(), _Makers():
        yield


def _is_there(device: Any) -> bool:
    return torch.device(device).type == DEVICE


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    target = kwargs.get("device")
    goes_to = (there[0].device if there else None) if target is None else torch.device(target)
    if goes_to is not None and not _is_there(goes_to):
        goes_to = None
    _check(func, args, tensors, there)
    if target is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.is_mutable and tensors and func._schema.name.endswith("_"):
        return args[0]
    if goes_to is None:
        return result
    return tree_map(lambda x: Elsewhere(x, goes_to) if isinstance(x, Tensor) else x, result)


def _without_lists(index: Any) -> Any:
    """An index whose lists are tensors: torch would make them on the device, and without values."""
    if isinstance(index, tuple):
        return tuple(_without_lists(part) for part in index)
    if not isinstance(index, list):
        return index
    return torch.tensor(index) if index else torch.tensor([], dtype=torch.long)


def _inner(x: Any) -> Any:
    return x.inner if isinstance(x, Elsewhere) else x


def _check(func: Any, args: Any, tensors: list[Tensor], there: list[Elsewhere]) -> None:
    name = func._schema.name
    if len({x.device for x in there}) > 1 and name not in _COPIES:
        raise MixedDevices(f"{name} on {', '.join(str(x.device) for x in there)}")
    if any(_is_there(x.device) and not isinstance(x, Elsewhere) for x in tensors):
        raise AssertionError(f"{name} on a tensor of the device that has no values")
    here = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim() > 0]
    if not there or not here or name in _COPIES:
        return
    if name in _INDEXED:
        values = [x for x in (args[0], *args[2:3]) if isinstance(x, Tensor) and x.dim() > 0]
        if all(isinstance(x, Elsewhere) for x in values):
            return
    shapes = [(tuple(x.shape), isinstance(x, Elsewhere)) for x in tensors]
    raise MixedDevices(f"{name} on tensors (shape, elsewhere): {shapes}")
