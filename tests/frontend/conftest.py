"""The world is made once for all front-end tests; they only read it."""

from pathlib import Path

import pytest

from tests.frontend.world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))
