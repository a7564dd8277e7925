"""The cone backend: only what an edit can change is computed."""

from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported
from causaldsl.engine.cone.recorder import ConeRun

__all__ = ["ConeBackend", "ConeRun", "Unsupported"]
