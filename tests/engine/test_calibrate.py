"""A machine measures itself."""

from __future__ import annotations

import pytest
import torch

from causaldsl.engine import calibrate as measured


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are those of products: twice the rows in less than twice the time."""
    monkeypatch.setattr(measured, "_started", lambda: (2.0, 2**28))
    monkeypatch.setattr(measured, "_ATLEAST", 0.05)
    machine = measured.calibrate("this one")
    assert (machine.name, machine.start, machine.base) == ("this one", 2.0, 2**28)
    assert machine.threads == torch.get_num_threads()
    assert machine.rates.keys() == set(measured.ROWS)
    assert machine.rates[1024] > 2 * machine.rates[1] > 0
    assert 1e-6 < machine.block < 1
    assert machine.read > 1e7
