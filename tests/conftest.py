"""Tests never ask the hub, whose answers depend on the network, nor a store of earlier results."""

import os
import sys

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CAUSALDSL_STORE"] = "none"


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    """A test draws the same numbers in every process and after any other test."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
