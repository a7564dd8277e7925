"""Ridge regression and its choice of penalty, against scikit-learn's and brute force."""

import numpy as np
import pytest
import torch

from causaldsl.engine.ridge import Standardised

ALPHAS = (0.01, 0.1, 1, 10, 100, 1000)


@pytest.mark.parametrize("shape", [(40, 12, 1), (30, 70, 1), (25, 25, 3)])
def test_as_scikit_learn_does(shape: tuple[int, int, int]) -> None:
    """Predictions and the chosen penalty, for fewer and for more columns than rows."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    n, d, k = shape
    draw = np.random.default_rng(n)
    x, new = draw.normal(3, 2, (n, d)), draw.normal(3, 2, (9, d))
    x[:, 0] = new[:, 0] = 0.1  # a neuron that never moves
    y = x[:, 1:4] @ draw.normal(size=(3, k)) + draw.normal(5, 2, (n, k))
    scaler = StandardScaler().fit(x)
    model = RidgeCV(alphas=ALPHAS).fit(scaler.transform(x), y)
    ours = Standardised(torch.from_numpy(x), torch.from_numpy(new))
    predicted, alpha = ours.predict(y, ALPHAS)
    assert alpha == model.alpha_
    wanted = np.asarray(model.predict(scaler.transform(new))).reshape(9, k)
    assert predicted == pytest.approx(wanted, abs=1e-9)


def test_left_out_rows_are_left_out() -> None:
    """The penalty with the smallest error over regressions that are each without one row."""
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=(12, 30)), draw.normal(size=(12, 1))
    y += x[:, :1]
    x = (x - x.mean(0)) / x.std(0)

    def error(alpha: float) -> float:
        total = 0.0
        for i in range(12):
            rest = np.arange(12) != i
            ones = np.ones(11)
            system = np.block(
                [
                    [x[rest] @ x[rest].T + alpha * np.eye(11), ones[:, None]],
                    [ones[None], np.zeros((1, 1))],
                ]
            )
            dual = np.linalg.solve(system, np.append(y[rest, 0], 0))
            total += (y[i, 0] - x[i] @ x[rest].T @ dual[:-1] - dual[-1]) ** 2
        return total

    ours = Standardised(torch.from_numpy(x), torch.from_numpy(x))
    alphas = (0.1, 3, 20, 500)
    assert ours.predict(y, alphas)[1] == min(alphas, key=error)
