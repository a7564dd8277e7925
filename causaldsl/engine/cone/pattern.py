"""Weights of attention by the tokens that they are of.

In a pass over a window the keys are those to its left, then its own, which stand at other tokens in
every row. Edits and reads name tokens, counted from each prompt's beginning.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.engine.transfer import placed


class Tokens:
    """Which token the columns of weights are of, in a window of S positions from ``starts``.

    ``starts`` is (n,), (1,) or (A, n); ``left`` columns come before those of the window's own.
    """

    def __init__(self, starts: Tensor, left: int, size: int, device: torch.device):
        begin = (starts if starts.dim() == 2 else starts[None])[..., None]
        past, own = torch.arange(left), begin + torch.arange(size)
        past = past.expand(*begin.shape[:2], -1)
        self._valid = placed(torch.cat((past < begin, own >= 0), -1), device)[:, :, None, None]
        self._token = placed(torch.cat((past, own.clamp_min(0)), -1), device)[:, :, None, None]

    def by_token(self, x: Tensor, width: int) -> Tensor:
        """(A, n, S, heads, columns) as (A, n, S, heads, width), 0 where there is no column."""
        out = x.new_zeros(*x.shape[:-1], width)
        valid, token = self._valid[: len(x)], self._token[: len(x)]
        return out.scatter_add(-1, token.expand_as(x), torch.where(valid, x, 0))

    def by_column(self, x: Tensor, before: Tensor) -> Tensor:
        """The way back; columns that are no token keep what they had ``before``."""
        valid, token = self._valid[: len(x)], self._token[: len(x)]
        return torch.where(valid, x.gather(-1, token.expand_as(before)), before)


def by_head(weights: Tensor, size: int) -> Tensor:
    """(A, n, kv_heads, shared * S, columns) as (A, n, S, heads, columns)."""
    arms, n, kv_heads, rows, columns = weights.shape
    apart = weights.view(arms, n, kv_heads * (rows // size), size, columns)
    return apart.transpose(2, 3)


def stacked(x: Tensor, kv_heads: int) -> Tensor:
    """The way back."""
    arms, n, size, heads, columns = x.shape
    return x.transpose(2, 3).reshape(arms, n, kv_heads, heads // kv_heads * size, columns)
