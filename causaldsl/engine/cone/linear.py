"""Linear maps with the weights of a Hugging Face module, which are not copied.

Matrices are stored (outputs, inputs), as ``torch.nn.functional.linear`` wants them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.cone.packing import Packed, Packing


@dataclass(eq=False)
class Linear:
    """x W^T + b. ``packing`` is set while training multiplies by the same matrix many times."""

    weight: Tensor
    bias: Tensor | None = None
    packing: Packing | None = None
    _packed: Packed | None = None

    def __call__(self, x: Tensor) -> Tensor:
        packed = self._packed_for(x)
        return F.linear(x, self.weight, self.bias) if packed is None else packed(x)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient W of x, for that of the output."""
        packed = self._packed_for(gradient)
        return gradient @ self.weight if packed is None else packed.back(gradient)

    def pack(self, packing: Packing | None) -> None:
        """Rearrange the matrix from now on where it helps; with None, no longer."""
        self.packing, self._packed = packing, None

    def _packed_for(self, x: Tensor) -> Packed | None:
        if self.packing is None:
            return None
        rows = x.numel() // x.shape[-1]
        if self._packed is None and self.packing.room_for(self.weight):
            self._packed = Packed(self.weight, self.bias, rows)
        return self._packed if self._packed is not None and self._packed.rows == rows else None
