"""Cross-entropy at the end of a pass, without keeping what the vocabulary makes large.

For normed streams x (n, d), W_U (V, d) and targets t::

    logits = f(x W_U^T + b),   loss_i = logsumexp(logits_i) - logits_i[t_i]
    d loss_i / d x_i = (softmax(logits_i) - onehot(t_i)) f' W_U

where f scales and caps, if the model does.

Both are computed at once, some rows at a time: a row's logits are softmaxed in place, give its loss
and its gradient, and are gone before the next rows come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.cone.weights import Unembedding
from causaldsl.engine.upcast import upcast

_ROWS = 128
"""Rows at a time: enough for a fast product, few enough that their logits stay in the cache."""
_ROWS_ELSEWHERE = 2048
"""Rows at a time where there is no such cache, and every product that is begun costs time."""
_UNDERFLOWS = 1e-30
"""Smaller probabilities have lost digits, or are zero, in float32."""


def cross_entropy(x: Tensor, targets: Tensor, head: Unembedding) -> Tensor:
    """Cross-entropy (n,) of each row over the whole vocabulary; differentiable in x (n, d)."""
    return with_own_gradient(x, partial(with_gradient, x, targets, head))


def with_own_gradient(x: Tensor, make: Callable[[bool], tuple[Tensor, Tensor | None]]) -> Tensor:
    """Losses (...), of which each depends on its own row of x (..., d) alone.

    ``make`` gives them with their gradients of their rows (..., d), if these are wanted: in a
    training they always are, and both are had in one go.
    """
    losses: Tensor = _OwnGradient.apply(x, make)
    return losses


class _OwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, make: Callable[[bool], tuple[Tensor, Tensor | None]]
    ) -> Tensor:
        losses, own = make(ctx.needs_input_grad[0])
        if own is not None:
            ctx.save_for_backward(own)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return own * gradient.unsqueeze(-1).to(own), None


def with_gradient(
    x: Tensor, targets: Tensor, head: Unembedding, wanted: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Losses (n,), and of each the gradient with respect to its own row of x (n, d), if wanted."""
    losses, gradients = [], []
    at_once = _ROWS if x.device.type == "cpu" else _ROWS_ELSEWHERE
    for rows, t in zip(x.split(at_once), targets.split(at_once), strict=True):
        loss, gradient = _of_rows(rows, t, head, wanted)
        losses.append(loss)
        gradients.append(gradient)
    return _whole(losses), _whole(gradients) if wanted else None


def _whole(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _of_rows(x: Tensor, targets: Tensor, head: Unembedding, wanted: bool) -> tuple[Tensor, Tensor]:
    """Losses (rows,), and their gradients with respect to x (rows, d) if wanted."""
    rows = torch.arange(len(x), device=x.device)
    logits = upcast(head(x))  # in half precision a softmax over a vocabulary says little
    kept = logits
    if x.device.type == "cpu":
        kept = logits if head.softcap is None else logits.clone()
        probabilities = torch.softmax(logits, -1, out=logits)
        chosen = probabilities[rows, targets]
        if bool((chosen < _UNDERFLOWS).any()):
            losses = -torch.log_softmax(upcast(head(x)), -1)[rows, targets]
        else:
            losses = -chosen.log()
    else:  # a look at the numbers would make the program wait for them
        losses = torch.logsumexp(logits, -1) - logits[rows, targets]
        probabilities = torch.softmax(logits, -1)
    if not wanted:
        return losses, x
    probabilities[rows, targets] -= 1
    return losses, head.back(probabilities, kept)
