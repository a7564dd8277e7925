"""Which device has which of a model's weights.

Blocks follow each other over the devices, as many on each as its share of the free memory takes;
all else, embeddings and unembedding, is on the first one, where the stream begins and ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from torch import Tensor, nn

from causaldsl.diagnostics import RunFailure

Places = Callable[[str], str]
"""The device of a tensor, by its name in the module."""
_NUMBER = re.compile(r"\.(\d+)\.")


def places(sizes: Mapping[str, int], n_layers: int, free: Mapping[str, int]) -> Places:
    """For tensors of these sizes, on devices with so much ``free``, both in bytes.

    Raises :class:`RunFailure` for weights that don't fit on all devices together.
    """
    devices = list(free)
    first = devices[0]
    blocks, rest = [0] * n_layers, 0
    for name, size in sizes.items():
        layer = _layer(name, n_layers)
        if layer is None:
            rest += size
        else:
            blocks[layer] += size
    total, room = rest + sum(blocks), sum(free.values())
    if total > room:
        raise RunFailure(
            f"the weights take {total / 1e9:.1f} GB, and {', '.join(devices)} have "
            f"{room / 1e9:.1f} GB free together",
            "name more devices, or `--dtype bfloat16`",
        )
    chosen = _blocks(blocks, rest, free)

    def place(name: str) -> str:
        layer = _layer(name, n_layers)
        return first if layer is None else chosen[layer]

    return place


def spread(module: nn.Module, place: Places) -> nn.Module:
    """Move each parameter and buffer of a module to its place; tied ones stay one tensor."""
    moved: dict[int, nn.Parameter] = {}
    for name, own in list(module.named_parameters(remove_duplicate=False)):
        if id(own) not in moved:
            moved[id(own)] = nn.Parameter(own.detach().to(place(name)), requires_grad=False)
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner).register_parameter(leaf, moved[id(own)])
    for name, buffer in list(module.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._buffers[leaf] = buffer.to(place(name))
    return module


def sizes_of(tensors: Mapping[str, Tensor], bytes_each: int) -> dict[str, int]:
    """How many bytes each tensor takes, of tied ones the first, for values of ``bytes_each``."""
    unique = {id(tensor): name for name, tensor in reversed(list(tensors.items()))}
    return {name: tensors[name].numel() * bytes_each for name in unique.values()}


def _layer(name: str, n_layers: int) -> int | None:
    """The block that a tensor is of; None for one that is of no block."""
    number = _NUMBER.search(name)
    layer = None if number is None else int(number[1])
    return layer if layer is not None and layer < n_layers else None


def _blocks(sizes: Sequence[int], before: int, free: Mapping[str, int]) -> list[str]:
    """The device of each block: the first whose share of all bytes ends behind its middle."""
    total, room = before + sum(sizes), sum(free.values())
    ends = [total * end / room for end in accumulate(free.values())]
    devices, found, done = list(free), [], before
    for size in sizes:
        middle = done + size / 2
        behind = (d for d, end in zip(devices, ends, strict=True) if middle <= end)
        found.append(next(behind, devices[-1]))
        done += size
    return found
