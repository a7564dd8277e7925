"""Which layout a folder has, and what is in it: its configuration and the sizes of its tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import remembered_sha256
from causaldsl.model.dictionaries import dictionary_learning, sae_lens, sparsify
from causaldsl.model.dictionaries.form import Form
from causaldsl.model.dictionaries.settings import Settings
from causaldsl.model.json_files import read_object

LAYOUTS: tuple[Any, ...] = (sae_lens, sparsify, dictionary_learning)
_FILES = ", or ".join(f"{layout.CONFIG} and {layout.WEIGHTS}" for layout in LAYOUTS)


def read_dictionary(
    written: str, folder: Path, scale: float | None, said: Mapping[str, Any] | None = None
) -> tuple[Form, str]:
    """The dictionary of a folder, and what identifies it: a hash of files and scale.

    ``said`` is what a list of releases says in place of the configuration.

    Raises:
        Mistake: if it is not there, or not understood.
    """
    layout = _layout(written, folder)
    config, weights = folder / layout.CONFIG, folder / layout.WEIGHTS
    settings = Settings(config, {**read_object(config, "bad-dictionary"), **(said or {})})
    files = _shapes(weights) if weights.suffix == ".safetensors" else {}
    found: Form = layout.form(settings, files, scale)
    if weights.suffix == ".safetensors":
        _check_tensors(found, files, layout.IGNORED, settings)
    digest = hashlib.sha256(
        f"{layout.__name__} {found.scale} {sorted((said or {}).items())}".encode()
    )
    hashes = [remembered_sha256(path) for path in (config, weights)]
    for one in hashes:
        digest.update(one.encode())
    return replace(found, sha256=hashes[1]), digest.hexdigest()[:16]


def _layout(written: str, folder: Path) -> ModuleType:
    for layout in LAYOUTS:
        if (folder / layout.WEIGHTS).is_file() and (folder / layout.CONFIG).is_file():
            found: ModuleType = layout
            return found
    inner = sorted(
        path.parent.name for layout in LAYOUTS for path in folder.glob(f"*/{layout.WEIGHTS}")
    )
    way = f"the folder of one holds {_FILES}"
    if inner:
        way = f'name one of its folders, such as "{written}/{inner[0]}"'
        way += f"; there are {len(inner)}" * (len(inner) > 1)
    raise Mistake("bad-dictionary", f"{written} holds no dictionary", way)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        message = f"{path.parent.name}/{path.name} is not a safetensors file: {str(error)[:200]}"
        raise Mistake("bad-dictionary", message, "fetch or save it again") from None


def _check_tensors(
    found: Form, files: Mapping[str, tuple[int, ...]], ignored: set[str], settings: Settings
) -> None:
    """Every tensor is there, has the size that the configuration says, and has a meaning."""
    of_weights = replace(settings, path=settings.path.parent / found.weights)
    for name, stored in found.tensors.items():
        size = found.size(name)
        wanted = tuple(reversed(size)) if stored.transposed else size
        shape = files.get(stored.name)
        if shape is None:
            raise of_weights.refused(f"it has no tensor `{stored.name}`", "fetch or save it again")
        if shape != wanted and not (stored.may_be_one and shape in ((), (1,))):
            raise of_weights.refused(
                f"`{stored.name}` has shape {list(shape)}, and {settings.path.name} says "
                f"{list(wanted)}",
                "fetch or save it again",
            )
    unknown = sorted(files.keys() - {s.name for s in found.tensors.values()} - ignored)
    if unknown:
        raise of_weights.refused(
            f"it has a tensor `{unknown[0][:50]}`, which is not understood here"
        )
