from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontend.editor.client import Client


@pytest.fixture(scope="module")
def client(world: Path) -> Iterator[Client]:
    """One server for all tests of a file."""
    client = Client(world)
    yield client
    if client.process.poll() is None:
        client.process.kill()
