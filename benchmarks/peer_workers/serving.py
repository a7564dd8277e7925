"""What every worker does: read requests, one JSON object a line, and answer each in one line.

A worker runs in its tool's own environment, without causaldsl.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Pairs:
    """Ids (n, T) of bases and sources, and of every base's answer and foil (n, 2)."""

    def __init__(self, path: str):
        with open(path) as file:
            found = json.load(file)
        self.base, self.source, self.answers = (
            torch.tensor(found[name]) for name in ("base", "source", "answers")
        )

    def differences(self, logits: Tensor) -> Tensor:
        """Logit differences (n,) at the last position, of logits (n, T, V)."""
        chosen = logits[:, -1].gather(1, self.answers)
        return chosen[:, 0] - chosen[:, 1]


def load(folder: str) -> Any:
    """The Hugging Face module, with its default attention code."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False)


def timed(work: Callable[[], Tensor]) -> dict[str, Any]:
    began = time.perf_counter()
    output = work()
    return {"seconds": time.perf_counter() - began, "output": output.tolist()}


def train(
    steps: int, lr: float, before: Callable[[], Tensor], step: Callable[[Tensor], None], free: Any
) -> dict[str, Any]:
    """Seconds for a step of Adam after one of warm-up. ``step`` leaves gradients on ``free``."""
    began = time.perf_counter()
    values = before()
    optimizer = torch.optim.Adam(free, lr=lr)
    times = []
    for _ in range(steps + 1):
        times.append(time.perf_counter())
        optimizer.zero_grad()
        step(values)
        optimizer.step()
    seconds = (time.perf_counter() - times[1]) / steps
    return {"seconds": seconds, "output": None, "parts": {"before": times[0] - began}}


def serve(work: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer, into the file that the first argument numbers, until there are no more requests."""
    answers = os.fdopen(int(sys.argv[1]), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "threads" in request:
            torch.set_num_threads(request.pop("threads"))
        try:
            answer = work[request.pop("do")](**request)
        except Exception as error:
            traceback.print_exc()
            last = str(error).strip().splitlines()[-1:] or [""]
            answer = {"error": f"{type(error).__name__}: {last[0]}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
