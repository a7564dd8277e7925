"""The settings of torch that numbers depend on: a run's own, and afterwards the caller's again.

A notebook may have switched gradients off, chosen another default dtype or device, or allowed TF32.
A run computes as in a fresh process all the same, and draws nothing from the caller's generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch

from causaldsl.diagnostics import RunFailure
from causaldsl.plan.settings import Settings


@contextmanager
def arithmetic(settings: Settings) -> Iterator[None]:
    """The arithmetic of a run for the block; also after an error, all is as before.

    Raises:
        RunFailure: if the run asks for TF32 on a device that has no such thing.
    """
    if settings.tf32 and settings.device.partition(":")[0] != "cuda":
        raise RunFailure(
            f"TF32 is a format of NVIDIA GPUs, and the device is {settings.device}",
            "add `--device cuda`, or leave `--tf32` out",
        )
    with ExitStack() as block:
        block.enter_context(torch.inference_mode(False))  # which also switches gradients on
        block.enter_context(torch.random.fork_rng(devices=[]))
        for name in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(name):
                block.enter_context(torch.autocast(name, enabled=False))
        if torch.get_default_device().type != "cpu":
            block.enter_context(torch.device("cpu"))
        block.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        _restore_precision(block)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = settings.tf32
        torch.backends.cudnn.allow_tf32 = settings.tf32
        yield


def _restore_precision(block: ExitStack) -> None:
    """Put back, at the block's end, how float32 products may be rounded.

    torch keeps this under older and newer names. Setting an older one sets newer ones too, so those
    come last; an older one can't be read where they disagree, and older versions lack the newer.
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    states: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
        (partial(getattr, products, "allow_tf32"), partial(setattr, products, "allow_tf32")),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ]
    for owner, name in (
        (convolutions, "allow_tf32"),
        (products, "fp32_precision"),
        (getattr(convolutions, "conv", None), "fp32_precision"),
        (getattr(convolutions, "rnn", None), "fp32_precision"),
        (getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision"),
    ):
        states.append((partial(getattr, owner, name), partial(setattr, owner, name)))
    for read, write in reversed(states):  # what is registered first is called last
        with suppress(AttributeError, RuntimeError):
            block.callback(write, read())
