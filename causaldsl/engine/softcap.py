"""Soft caps of logits u, c tanh(u / c), and the ratio by which they shrink.

The cap is no linear map, so effects on capped logits do not add up. Where scales of norms are held,
the ratio of the clean run is held with them: u' becomes u' * shrinkage(u).
"""

from __future__ import annotations

import torch
from torch import Tensor


def capped(logits: Tensor, cap: float) -> Tensor:
    """c tanh(u / c)."""
    return torch.tanh(logits / cap) * cap


def shrinkage(logits: Tensor, cap: float) -> Tensor:
    """What a soft cap multiplies a logit u by, c tanh(u / c) / u."""
    tiny = logits.abs() < 1e-6 * cap
    return torch.where(tiny, 1.0, capped(logits, cap) / torch.where(tiny, 1.0, logits))
