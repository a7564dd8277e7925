"""Clean runs taken apart into tensors and put together again, whatever a backend keeps in them.

A clean run is an object of the engine: attributes, dicts and lists of them, and in the end tensors
whose first axis is the prompts. Offloading swaps every tensor of numbers for a ``Slot``. Restoring
makes a run of all prompts, or of some rows. It reads the slots of a dict only when they are asked
for: a late layer's tail has no use for the keys of the layers below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

_ENGINE = "causaldsl.engine."


@dataclass(frozen=True)
class Slot:
    """A tensor in a file: its offset in bytes, its shape, and its dtype and device when read."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @property
    def row_bytes(self) -> int:
        return self.shape[1:].numel() * self.dtype.itemsize


def bytes_of(run: Any) -> int:
    """How many bytes all tensors of a clean run take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(run))


def offload(run: Any, rows: int, write: Callable[[Tensor], Slot]) -> Any:
    """A copy of a clean run of ``rows`` prompts with slots for its tensors.

    Token ids and positions stay: they are small.
    """

    def put(tensor: Tensor) -> Tensor | Slot:
        by_row = tensor.dim() > 0 and len(tensor) == rows and tensor.numel() > 0
        return write(tensor) if by_row and tensor.is_floating_point() else tensor

    return _mapped(run, put)


def restore(offloaded: Any, rows: int, read: Callable[[Slot], Tensor], taken: Tensor | None) -> Any:
    """An offloaded run of ``rows`` prompts put together again, or of the rows ``taken`` (m,) alone.

    ``read`` gives these rows of a slot's tensor.
    """

    def get(leaf: Tensor | Slot) -> Tensor:
        if isinstance(leaf, Slot):
            return read(leaf)
        by_row = taken is not None and leaf.dim() > 0 and len(leaf) == rows
        return leaf[taken.to(leaf.device)] if by_row and taken is not None else leaf

    return _mapped(offloaded, get, LazyDict)


class LazyDict(dict[Any, Any]):
    """A dict whose values are functions until they are asked for."""

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, _Later):
            value = self[key] = value.make()
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            return default
        return self[key]

    def values(self) -> Any:
        return [self[key] for key in self]

    def items(self) -> Any:
        return [(key, self[key]) for key in self]


@dataclass(frozen=True)
class _Later:
    make: Callable[[], Any]


def _mapped(value: Any, change: Callable[[Any], Any], table: type[dict] = dict) -> Any:
    """A copy with every tensor and slot changed; in a ``LazyDict``, when it is asked for."""
    if isinstance(value, Tensor | Slot):
        return change(value)
    if isinstance(value, dict):
        if table is LazyDict:
            again = partial(_mapped, change=change, table=table)
            return LazyDict({k: _Later(partial(again, v)) for k, v in value.items()})
        return {k: _mapped(v, change, table) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(item, change, table) for item in value)
    if _is_ours(value):
        copied = object.__new__(type(value))
        for name, item in vars(value).items():
            # A value worked out from all rows is wrong for some of them.
            if not isinstance(getattr(type(value), name, None), cached_property):
                copied.__dict__[name] = _mapped(item, change, table)
        return copied
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) or _is_ours(value):
        parts = value.values() if isinstance(value, dict) else value
        for part in vars(value).values() if _is_ours(value) else parts:
            yield from _tensors(part)


def _is_ours(value: Any) -> bool:
    """Whether this is an object of the engine, whose attributes may hold tensors."""
    return hasattr(value, "__dict__") and type(value).__module__.startswith(_ENGINE)
