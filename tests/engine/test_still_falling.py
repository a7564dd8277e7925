"""A note that a training was too short, against how much lower one of twice the epochs ends.

The curves are of SmolLM2: its cross-entropy can't fall below about 0.84 and 1.84 here.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch

from causaldsl.engine.das import DasFit

CURVES = json.loads((Path(__file__).parent / "golden" / "das_curves.json").read_text())
MORE = 0.1
"""What is worth another training: this share of what the first one gained."""


def falls(losses: list[float]) -> bool:
    return DasFit(torch.eye(2), tuple(losses)).still_falling is not None


@pytest.mark.parametrize("site", CURVES["doubled"])
def test_it_is_noted_where_twice_the_epochs_gain_much_more(site: str) -> None:
    curves = {int(epochs): losses for epochs, losses in CURVES["doubled"][site].items()}
    assert all(len(losses) == epochs for epochs, losses in curves.items())
    said = set()
    for epochs, losses in curves.items():
        if 2 * epochs in curves:
            gained, more = losses[0] - losses[-1], losses[-1] - curves[2 * epochs][-1]
            assert falls(losses) == (more > MORE * gained), (epochs, gained, more)
            said.add(falls(losses))
    assert said == {True, False}


@pytest.mark.parametrize("height", [-20.0, 0.0, 20.0])
def test_how_high_the_loss_is_does_not_matter(height: float) -> None:
    for curves in CURVES["doubled"].values():
        for losses in curves.values():
            assert falls([loss + height for loss in losses]) == falls(losses)


def test_trainings_that_had_ended_are_not_noted() -> None:
    assert len(CURVES["ended"]) == 8
    assert not [name for name, losses in CURVES["ended"].items() if falls(losses)]


@pytest.mark.parametrize(("epochs", "most"), [(6, 0.08), (12, 0.01), (30, 0.01), (100, 0.01)])
@pytest.mark.parametrize("gained", [0.0, 5.0])
def test_noise_is_no_fall(epochs: int, most: float, gained: float) -> None:
    """Around a constant, and around a curve that is at its end after a third of the epochs."""
    draw = random.Random(0)
    noisy = [
        [gained * math.exp(-20 * e / epochs) + draw.gauss(7, 0.2) for e in range(epochs)]
        for _ in range(500)
    ]
    assert sum(map(falls, noisy)) <= most * len(noisy)
