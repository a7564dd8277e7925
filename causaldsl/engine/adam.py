"""Adam (Kingma and Ba, 2014, algorithm 1) for a few small tensors.

The same numbers as ``torch.optim.Adam``, on a CPU bit for bit; building that one imports torch's
compiler, which takes longer than training a direction on a small model.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class Adam:
    """The moments of one tensor's gradients, and its steps."""

    def __init__(self, parameter: Tensor):
        self.parameter = parameter
        self.steps = 0
        self._mean = torch.zeros_like(parameter)
        self._square = torch.zeros_like(parameter)

    @property
    def moments(self) -> dict[str, Tensor]:
        return {"mean": self._mean, "square": self._square}

    def restore(self, steps: int, moments: dict[str, Tensor]) -> None:
        """Go on after this many steps, which left these moments."""
        self.steps = steps
        for name, own in self.moments.items():
            own.copy_(moments[name])

    @torch.no_grad()
    def step(self, gradient: Tensor, lr: float) -> None:
        """Move the parameter, in place."""
        self.steps += 1
        self._mean.lerp_(gradient, 1 - _BETA1)
        self._square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        size = lr / (1 - _BETA1**self.steps)
        spread = self._square.sqrt() / (1 - _BETA2**self.steps) ** 0.5
        self.parameter.addcdiv_(self._mean, spread.add_(_EPS), value=-size)
