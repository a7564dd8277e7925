from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster for all runs of this process: a run joins it, and leaves it as it is."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: make test-cluster")
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path, as those of sockets have to be
    options = {"include_dashboard": False, "log_to_driver": False, "_temp_dir": folder}
    ray.init(num_cpus=4, object_store_memory=2**27, logging_level="error", **options)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
