"""The program of a run with all files that it reads, and how it was run: what runs it again.

They stand under ``source/`` as they stood to one another, so that relative paths still lead from
one to the other; ``rerun.json`` says which is the program, with which choices, libraries and memory
it was run, and the hash of each copy.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.model.cache import sha256
from causaldsl.plan.numerics import LIBRARIES
from causaldsl.plan.settings import Settings

FOLDER, CHOICES = "source", "rerun.json"


def write_sources(folder: Path, program: CheckedProgram, settings: Settings) -> None:
    """Copy the program, its imports and its data into a run's folder."""
    texts = {Path(source.name).resolve(): source.text for source in program.imports}
    texts[program.path.resolve()] = program.source.text
    paths = [*texts, *(path for path in program.files if path.is_file())]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    places = {path: folder / FOLDER / path.relative_to(root) for path in paths}
    for path, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if path in texts:
            place.write_text(texts[path], "utf-8")
        else:
            shutil.copyfile(path, place)
    choices = {
        "program": str(places[program.path.resolve()].relative_to(folder)),
        "settings": _given(program, {p: str(q.relative_to(folder)) for p, q in places.items()}),
        "model": _model(program),
        "limits": dict(program.limits),
        "choices": {name: value for name, value in asdict(settings).items() if name != "memory"},
        "memory": settings.memory,
        "sha256": {str(p.relative_to(folder)): sha256(p) for p in sorted(places.values())},
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    (folder / CHOICES).write_text(json.dumps(choices, indent=1, sort_keys=True) + "\n", "utf-8")


def _given(program: CheckedProgram, places: dict[Path, str]) -> dict[str, Any]:
    """What `--set` said; of a file, where its copy is."""
    files = {written: places[path] for path, written in program.files.items() if path in places}
    given = {name: text for name, text in program.settings.items() if name != "model"}
    return {name: {"file": files[t]} if t in files else t for name, t in given.items()}


def _model(program: CheckedProgram) -> dict[str, Any] | None:
    """The model that was set, or one that lies on this machine; else the program names it."""
    spec = program.model
    if spec is None:
        return None
    local = spec.kind in ("folder", "gguf")
    name = str(spec.path) if local else program.settings.get("model")
    return {"name": name, "local": local, "fingerprint": spec.shapes.fingerprint}
