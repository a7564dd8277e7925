"""What a subspace that is learned is patched along, from what is trained.

A free matrix M (d, k) is trained with Adam; the subspace it stands for is::

    Q = M / |M|     for k = 1,        Q R = M  (thin QR)     for k > 1

so Q (d, k) is orthonormal at every step and no d x d rotation is ever formed. The gradient of the
loss is orthogonal to what leaves Q unchanged, M's length among it: M only grows, which slows the
turning of Q down as training goes on.

Where the dimension is learned too (boundless DAS: Wu et al. 2023), M has k columns at most and a
share b beside it, and the patch goes along Q diag(m) Q^T with gates that close behind b k columns::

    m_j = sigmoid((b k - j + 1/2) / T),  j = 1 .. k       loss + cost * b

T falls from epoch to epoch, from a tenth of the columns to 0.1, so that the gates become a count;
the subspace is that of the first round(b k) columns of Q, at least one.

Of a mask, each coordinate j of the site has a number x_j, and the patch goes along the coordinates
with gates (De Cao et al. 2020, arXiv 2004.14992; Davies et al. 2023, arXiv 2307.03637)::

    m_j = sigmoid(x_j / T)                                loss + cost * sum of m

All start at x = 0, half open. T falls from HOT to COLD, so that they become open or shut, and the
sum a count (the L0 norm); the mask is where x > 0, at least the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

HOT, COLD = 1.0, 0.01
"""The temperatures of a mask's gates in the first and the last epoch."""


@dataclass(frozen=True)
class DasOptions:
    """How to train; the batches and the loss are the caller's."""

    dim: int = 1
    lr: float = 1e-2
    epochs: int = 10
    seed: int = 0
    decay: Literal["none", "linear", "cosine"] = "linear"
    boundless: bool = False
    """Whether ``dim`` is the largest dimension that may be learned, at a ``cost`` of all of it."""
    cost: float = 1.0
    mask: bool = False
    """Whether coordinates are learned, and no directions: at a ``cost`` of each. ``dim`` is how
    many there are."""

    @property
    def gated(self) -> bool:
        """Whether how large the subspace is is learned too."""
        return self.boundless or self.mask


def orthonormal(free: Tensor) -> Tensor:
    """The orthonormal basis that a free matrix (d, k) of full rank stands for."""
    if free.shape[1] == 1:
        return free / torch.linalg.vector_norm(free)
    return torch.linalg.qr(free).Q


def trained_basis(options: DasOptions, free: Tensor, epoch: int) -> Tensor:
    """What a step of this epoch patches along, (d, k): B B^T = Q diag(m) Q^T if boundless. Of a
    mask its gates (d,)."""
    done = epoch / max(1, options.epochs - 1)
    if options.mask:
        return torch.sigmoid(free[:, 0] / (HOT ** (1 - done) * COLD**done))
    if not options.boundless:
        return orthonormal(free)
    hot, cold = max(options.dim / 10, 1.0), 0.1
    temperature = hot ** (1 - done) * cold**done
    columns = torch.arange(options.dim, device=free.device, dtype=free.dtype) + 0.5
    open_ = (_share(free) * options.dim - columns) / temperature
    # The root of a sigmoid, whose gradient is a number where the gate is shut.
    return orthonormal(free[:-1]) * (0.5 * torch.nn.functional.logsigmoid(open_)).exp()


def found_basis(options: DasOptions, free: Tensor) -> Tensor:
    """The orthonormal basis that a free matrix stands for, with whole columns if boundless; of a
    mask its gates (d,), open or shut."""
    if options.mask:
        open_ = free[:, 0] > 0
        open_[free[:, 0].argmax()] = True
        return open_.to(free)
    if not options.boundless:
        return orthonormal(free)
    count = round(float(_share(free)) * options.dim)
    return orthonormal(free[:-1])[:, : min(max(count, 1), options.dim)]


def cost_of(options: DasOptions, free: Tensor, basis: Tensor) -> Tensor:
    """What the share of columns, or the number of open gates, adds to the loss; 0 where the
    dimension is given."""
    if options.mask:
        return options.cost * basis.sum()
    return options.cost * _share(free) if options.boundless else free.new_zeros(())


def _share(free: Tensor) -> Tensor:
    """The share of columns, kept beside them in a row of its own: from 0 to 1, but with a gradient
    that leads back from outside."""
    share = free[-1, 0]
    return share + (share.clamp(0, 1) - share).detach()


def started(width: int, options: DasOptions) -> Tensor:
    """Where a training starts: half of the columns, if their number is learned; gates half open."""
    if options.mask:
        return torch.zeros(width, 1, dtype=torch.float64)
    free = start(width, options.dim, options.seed)
    return torch.cat((free, torch.full_like(free[:1], 0.5))) if options.boundless else free


def start(width: int, dim: int, seed: int) -> Tensor:
    """A random orthonormal basis, the same for the same seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return orthonormal(torch.randn(width, dim, generator=generator, dtype=torch.float64))
