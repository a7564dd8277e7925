"""Where a run's files go: written beside the final folder, then moved into place at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causaldsl.diagnostics import RunFailure
from causaldsl.graph.graph import Graph
from causaldsl.model.catalog import ModelSpec
from causaldsl.plan.numerics import numerics_of
from causaldsl.plan.settings import Settings
from causaldsl.process import clear_left_behind, mark

MARKER = ".causaldsl-run"
"""Lists the files of a run, so that a folder with anything else in it is never replaced."""


def run_key(graph: Graph, settings: Settings, model: ModelSpec | None) -> str:
    """Identifies a run by what its values depend on. The model's weights must be there."""
    return numerics_of(settings, model).key_of(graph.network)[:12]


@contextmanager
def run_folder(wanted: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes ``wanted`` when the block ends without an error.

    What stood there before is replaced only then, and only if it is a run and nothing else. If the
    block raises, nothing is left; what a process that was killed left is deleted by the next.
    """
    check_free(wanted)
    final = wanted.resolve()
    with _writing_to(wanted):
        final.parent.mkdir(parents=True, exist_ok=True)
        clear_left_behind(final.parent, ".*")
        draft = Path(tempfile.mkdtemp(f".{mark()}", f".{final.name[:100]}.", final.parent))
    try:
        yield draft
        with _writing_to(wanted):
            (draft / MARKER).write_text("\n".join(_files(draft)) + "\n", "utf-8")
            draft.chmod(0o755)
            _check_replaceable(final, wanted)
            _move(draft, final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def drawing(folder: Path, *names: str) -> Iterator[None]:
    """While files of these names are written into a run's folder.

    They are put on its list before, so that what a process that dies leaves is known as the run's.
    A file that was not finished is deleted.
    """
    marker = folder / MARKER
    if marker.is_file():
        known = marker.read_text("utf-8").splitlines()
        if not set(names) <= set(known):
            marker.write_text("\n".join(sorted({*known, *names})) + "\n", "utf-8")
    try:
        yield
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        raise


def check_free(wanted: Path) -> None:
    """Raise :class:`RunFailure` unless a run can be written to this folder."""
    final = wanted.resolve()
    if final == Path.cwd() or final in Path.cwd().parents:
        raise RunFailure(f"{wanted} is the folder you are in", "give another folder with --out")
    _check_replaceable(final, wanted)


def _move(draft: Path, final: Path) -> None:
    if not final.exists():
        os.replace(draft, final)
        return
    old = Path(tempfile.mkdtemp(prefix=".old.", dir=final.parent))
    try:
        os.replace(final, old / "run")
        try:
            os.replace(draft, final)
        except OSError:
            os.replace(old / "run", final)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _check_replaceable(final: Path, wanted: Path) -> None:
    """Refuse a folder that holds anything but the files of one run."""
    if not final.exists():
        return
    ours = {MARKER}
    if final.is_dir() and (final / MARKER).is_file():
        ours |= set((final / MARKER).read_text("utf-8").splitlines())
    if not final.is_dir() or not set(_files(final)) <= ours:
        raise RunFailure(
            f"{wanted} exists and holds something other than a run",
            "give another folder with --out",
        )


@contextmanager
def _writing_to(wanted: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFailure(
            f"can't write to {wanted}: {error.strerror}", "give another folder with --out"
        ) from None
