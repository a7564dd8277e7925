"""The world of the front end's tests, which has what these programs name."""

from pathlib import Path

import pytest

from tests.frontend.world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))
