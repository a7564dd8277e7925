"""Ridge regression on standardised inputs, with its penalty chosen by leave-one-out.

For training inputs X (n, d), standardised, and targets Y (n, k) less their mean, the dual weights
of a penalty a are C = (X X^T + a)^-1 Y, and a new row x is predicted as x X^T C plus the mean.
Without row i, it would be predicted with the error C_i / ((X X^T + a)^-1)_ii (Golub, Heath and
Wahba 1979).
One eigendecomposition of X X^T serves every penalty and every target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Standardised:
    """Inputs (n, d) to train on and (m, d) to predict for, at mean 0 and deviation 1 in training.

    A column that does not vary in training is 0 there.
    """

    def __init__(self, train: Tensor, test: Tensor):
        sd = train.std(0, correction=0)
        sd[sd < 10 * torch.finfo(sd.dtype).eps * train.abs().amax(0)] = 1
        x, new = ((rows - train.mean(0)) / sd for rows in (train, test))
        # With the ones added, the mean is a direction of its own, which no penalty shrinks.
        self._values, self._vectors = torch.linalg.eigh(x @ x.T + 1)
        self._between = new @ x.T

    def predict(self, y: np.ndarray, alphas: Sequence[float]) -> tuple[np.ndarray, float]:
        """Predictions (m, k) for targets (n, k), and the penalty that left-out rows chose."""
        mean = y.mean(0)
        rotated = self._vectors.T @ torch.from_numpy(y - mean)
        constant = int(self._vectors.sum(0).abs().argmax())
        best = (float("inf"), 0.0, rotated)
        for alpha in alphas:
            shrink = 1 / (self._values + alpha)
            shrink[constant] = 0
            weights = self._vectors @ (shrink[:, None] * rotated)
            diagonal = (self._vectors**2) @ shrink
            error = float(((weights / diagonal[:, None]) ** 2).mean())
            best = min(best, (error, float(alpha), weights), key=lambda one: one[0])
        return (self._between @ best[2]).numpy() + mean, best[1]
