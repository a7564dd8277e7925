"""Dictionaries by name: of SAELens's releases, or of a repository of the hub. Nothing is fetched.

Which repository and folder a release and `id` stand for is what an installed SAELens says in its
own list, which is read without importing it. The files are those of huggingface_hub's cache.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake, suggest

_LIST = "pretrained_saes.yaml"
_IN_CONFIG = ("cfg.json", "config.json")


@dataclass(frozen=True)
class Release:
    """A folder, what the list says in place of its configuration, and a number for ``scale``."""

    folder: Path
    said: dict[str, Any] = field(default_factory=dict)
    scale: float | None = None


def cached_release(name: str, id: str | None) -> Release:
    """The files that a name stands for.

    Raises:
        Mistake: if there is no such name, or its files are not on this machine.
    """
    listed = _listed()
    entry = None if listed is None else listed.get(name)
    if entry is None:
        if "/" not in name or name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise Mistake("missing-file", f"there is no folder {name}", _way(listed, name))
        return Release(_cached(name, id or ""))
    if entry.get("conversion_func"):
        raise Mistake(
            "bad-dictionary",
            f"{name} is kept in a layout of its own ({entry['conversion_func']}), which is not "
            "read here",
            f'save it once with SAELens: SAE.from_pretrained("{name}", "{id or "ID"}")'
            '.save_model("FOLDER"), and name that folder',
        )
    ids = {str(one["id"]): one for one in entry["saes"]}
    if id not in ids:
        said = f"the release {name} has {len(ids)} dictionaries"
        said = f"the release {name} has no `{id}`" if id else said
        example = f'sae("{name}", id: "{next(iter(ids))}")'
        way = suggest(id, ids, "ids") if id and len(ids) < 100 else f"name one: {example}"
        raise Mistake("missing-file", said, way)
    about = ids[id]
    overrides = dict(entry.get("config_overrides") or {})
    scale = about.get("norm_scaling_factor")
    return Release(_cached(entry["repo_id"], str(about["path"])), overrides, scale)


def _listed() -> dict[str, Any] | None:
    """SAELens's list of releases; None where it is not installed."""
    try:
        spec = importlib.util.find_spec("sae_lens")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _LIST
        if path.is_file():
            import yaml

            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
            return found if isinstance(found, dict) else None
    return None


def _way(listed: dict[str, Any] | None, name: str) -> str:
    if listed is None:
        return (
            "name a folder in the program's own; SAELens's release names are known where SAELens "
            "is installed"
        )
    return suggest(name, listed, "releases").split(";")[0]


def _cached(repo: str, inner: str) -> Path:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    at = f"{inner}/" if inner else ""
    for config in _IN_CONFIG:
        try:
            found = try_to_load_from_cache(repo, f"{at}{config}")
        except HFValidationError:
            break
        if isinstance(found, str):
            return Path(found).parent
    what = f"{repo}/{inner}" if inner else repo
    raise Mistake(
        "missing-file",
        f"there is no folder {repo} beside the program, and no {what} in the hub's cache",
        f"paths are relative to the program; one of the hub is fetched once: hf download {repo}"
        + (f" --include '{inner}/*'" if inner else ""),
    )
