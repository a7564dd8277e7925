"""What stays in float32 when a model runs in bfloat16.

bfloat16 has 8 significant bits: a logit of 20 is known to 0.06, and a logit difference to as
little. So the last norm, the unembedding, the inner products of patches and the bases that are
learned are computed in float32. Weights, activations and everything between are in bfloat16, and
what that does to the numbers is measured (``precision.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


def upcast(x: Tensor) -> Tensor:
    """The tensor in float32 if it is in half precision, else the same."""
    return x.float() if x.dtype in HALF else x


def upcast_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, else the same."""
    return torch.float32 if dtype in HALF else dtype
