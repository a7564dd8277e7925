"""Runs on disk: reading one, and running it again from its own folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causaldsl import api
from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import sha256
from causaldsl.plan.settings import Progress, Settings
from causaldsl.report.saved_sources import CHOICES, FOLDER
from causaldsl.results.reading import read_results
from causaldsl.results.records import Results


@dataclass(frozen=True)
class Kept:
    """A run's folder with its results."""

    folder: Path
    results: Results

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"


def read_run(folder: Path) -> Kept:
    """A run that is there. Raises :class:`Mistake` if it is not, or can't be read."""
    return Kept(folder, read_results(folder))


def compiled_again(
    folder: Path, model: str | None = None, progress: Progress | None = None
) -> tuple[api.Compiled, Settings]:
    """The program of a run from the copies in its folder, and how it was run.

    ``model`` is where its model lies now, if it was a local one.

    Raises:
        Mistake: if something of it is not there, or the model is another one.
        ProgramError: if the program is not right any more.
    """
    said = _choices(folder)
    for name, digest in said.get("sha256", {}).items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            message = f"{folder / name} is not as the run left it"
            raise Mistake("changed-file", message, "run the program itself instead")
    settings = {
        name: str(folder / value["file"]) if isinstance(value, dict) else value
        for name, value in said["settings"].items()
    }
    wanted = said["model"] or {}
    if (name := model or wanted.get("name")) is not None:
        settings["model"] = name
        if wanted.get("local") and not Path(name).exists():
            raise Mistake("missing-model", f"the model was {name}, which is not there", _WHERE)
    copies = [folder / FOLDER]
    path = folder / said["program"]
    limits = said.get("limits", {})
    compiled = api.compile(path, settings=settings, progress=progress, allow=copies, limits=limits)
    found = compiled.program.model
    if found is not None and found.shapes.fingerprint != wanted.get("fingerprint"):
        raise Mistake("other-model", f"{found.name} is not the model that was run", _WHERE)
    return compiled, Settings(**said["choices"])


def files_set(folder: Path) -> set[str]:
    """The params that were given a file on the command line: its copy has another path."""
    return {n for n, value in _choices(folder)["settings"].items() if isinstance(value, dict)}


_WHERE = "say where the model of the run is: --model PATH"


def _choices(folder: Path) -> dict[str, Any]:
    path = folder / CHOICES
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        help = "run the program again with this version: its folder then has all that it needs"
        raise Mistake("missing-file", f"{path} is missing or can't be read", help) from None


def finite(value: Any) -> Any:
    """Plain data with None for every number that is none, as JSON has no other word for it."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
