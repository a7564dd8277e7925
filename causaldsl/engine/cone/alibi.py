"""ALiBi: what attention scores gain by a key's position, the same for every query.

Head h adds slope_h * j to its scores of the key at position j. (Press, Smith and Lewis 2022 add
-slope_h * (i - j) for a query at i: the same after a softmax.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.transfer import placed


@dataclass(frozen=True, eq=False)
class Alibi:
    """``slopes`` (n_heads,), in the precision that their products with positions are rounded to;
    ``scale`` multiplies the products."""

    slopes: Tensor
    scale: float = 1.0

    def __call__(self, positions: Tensor, n_kv_heads: int, dtype: torch.dtype) -> Tensor:
        """What scores gain, (..., kv_heads, shared, 1, keys), for keys at positions (..., keys)."""
        gained = self.slopes[:, None] * placed(positions[..., None, :], self.slopes.device)
        return (gained.to(dtype) * self.scale).unflatten(-2, (n_kv_heads, -1)).unsqueeze(-2)


def slopes(n_heads: int, rule: str = "bloom") -> Tensor:
    """2^(-8 h / n) for heads h = 1..n, for n a power of two.

    For other numbers of heads: by ``bloom``'s rule those of the power below, then every other one
    of the power above; by ``mpt``'s those of the power above, every other one from the second on,
    then from the first on.
    """
    below = 2 ** math.floor(math.log2(n_heads))
    if below == n_heads:
        return _powers(n_heads)
    above = _powers(2 * below)
    parts = (_powers(below), above[::2]) if rule == "bloom" else (above[1::2], above[::2])
    return torch.cat(parts)[:n_heads]


def _powers(n: int) -> Tensor:
    base = torch.full((), 2 ** (-(2 ** -(math.log2(n) - 3))), dtype=torch.float32)
    return torch.pow(base, torch.arange(1, 1 + n, dtype=torch.int32))
