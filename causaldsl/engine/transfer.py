"""Small tensors to where large ones are, without waiting for a GPU's work so far.

An ordinary copy of indices from the CPU makes the program wait until all that the GPU was given is
done. From pinned memory the copy takes its place behind that work, and the program goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def lies_on(x: Tensor, device: torch.device) -> bool:
    """Whether a tensor is on a device; one without a number is any of its kind."""
    return x.device.type == device.type and device.index in (None, x.device.index)


def placed(x: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device; the same object if it is there."""
    device = torch.device(device)
    if lies_on(x, device):
        return x
    if device.type == "cuda" and x.device.type == "cpu" and x.numel():
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def fetched(x: Tensor) -> Callable[[], Tensor]:
    """Begin to bring a tensor to the CPU; the function waits for it, not for what begins later."""
    if x.device.type != "cuda":
        return lambda: x
    here, arrived = torch.empty_like(x, device="cpu", pin_memory=True), torch.cuda.Event()
    here.copy_(x, non_blocking=True)
    arrived.record()

    def wait() -> Tensor:
        arrived.synchronize()
        return here

    return wait
