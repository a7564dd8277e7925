"""The wheel, installed in a clean environment: what it checks, begins and runs there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from causaldsl.model.catalog import catalog
from tests.tiny import tiny_folder

ROOT = Path(__file__).parents[1]
LIGHT = ["lark", "pydantic", "networkx", "tokenizers", "safetensors", "huggingface-hub",
         "platformdirs", "numpy", "gguf", "rich", "graphviz"]  # fmt: skip
"""What the front end needs, without which nothing of it works; the wheel names more for runs."""
_COMMANDS = ("..", "..", "..", "bin")
"""Where a package's commands lie, seen from its modules."""
PRESENT = next(entry.present for entry in catalog() if entry.name == "smollm2-135m")
pytestmark = pytest.mark.skipif(not PRESENT, reason="smollm2-135m is not on this machine")


def command(*arguments: object, **settings: object) -> str:
    done = subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, check=False, **settings
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def with_all_they_need(names: Iterable[str]) -> list[Distribution]:
    """Packages that are installed here, with those that they name, and these name, and so on."""
    found: dict[tuple[str, str], Distribution] = {}
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        for extra in ("", *wanted.extras):
            key = canonicalize_name(wanted.name), extra
            if key not in found:
                found[key] = distribution(wanted.name)
                needs = [Requirement(text) for text in found[key].requires or ()]
                todo += [n for n in needs if not n.marker or n.marker.evaluate({"extra": extra})]
    return list(found.values())


class Clean:
    """An environment with the wheel, and with nothing else of what is installed here.

    Packages are lent to it by links, which takes no time and no network: those that are named, and
    what these say that they need.
    """

    def __init__(self, folder: Path, wheel: Path):
        self.folder = folder
        command(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
        self.python = folder / "venv/bin/python"
        command(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet",
                "--disable-pip-version-check", "--no-index", "--no-deps", wheel)  # fmt: skip
        (self.site,) = (folder / "venv/lib").glob("python*/site-packages")

    def lend(self, names: Iterable[str]) -> None:
        """Link packages, and the commands that they bring."""
        for package in with_all_they_need(names):
            for file in package.files or ():
                into = self.python.parent if file.parts[:-1] == _COMMANDS else self.site
                name = file.name if into != self.site else file.parts[0]
                if name not in ("..", "__pycache__") and not (into / name).exists():
                    whole = file if into != self.site else name
                    (into / name).symlink_to(Path(str(package.locate_file(whole))).resolve())

    def needs(self) -> list[str]:
        """What the wheel says that it needs."""
        (mine,) = distributions(name="causaldsl", path=[str(self.site)])
        needs = [Requirement(text) for text in mine.requires or ()]
        return [str(need) for need in needs if not need.marker or need.marker.evaluate()]

    def causaldsl(self, *arguments: object, **more: str) -> str:
        return self.run(self.folder / "venv/bin/causaldsl", *arguments, **more)

    def run(self, *arguments: object, **more: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | more
        environment["PATH"] = f"{self.folder / 'venv/bin'}{os.pathsep}{environment['PATH']}"
        return command(*arguments, cwd=self.folder, env=environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "-w", folder, ROOT)  # fmt: skip
    (found,) = folder.glob("causaldsl-*.whl")
    return found


def test_the_wheel_checks_every_program(wheel: Path, tmp_path: Path) -> None:
    """With the front end's few dependencies: checking must need no more."""
    clean = Clean(tmp_path, wheel)
    clean.lend(LIGHT)
    cache = str(tmp_path / "cache")
    clean.causaldsl("format", "--check", ROOT / "programs/ioi.cpatch", CAUSALDSL_CACHE=cache)
    assert not Path(cache).exists(), "the wheel has the parser's tables"
    where = clean.run(clean.python, "-c", "import causaldsl; print(causaldsl.__file__)")
    assert str(tmp_path) in where
    names = "import causaldsl as cd; print([getattr(cd, name) for name in cd.__all__])"
    clean.run(clean.python, "-c", names)
    assert "causaldsl sites" in clean.causaldsl("explain", "layer-range")
    programs = sorted(ROOT.glob("programs/*.cpatch"))
    said = clean.causaldsl("check", *programs)
    assert len(programs) > 1
    right = [line.partition(" is right: ")[0] for line in said.splitlines()]
    assert right == [str(path) for path in programs]
    absent = "import importlib.util as i; print(i.find_spec('torch'), i.find_spec('transformers'))"
    assert clean.run(clean.python, "-c", absent) == "None None\n"


@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="IPython isn't installed")
def test_what_new_begins_and_the_notebooks_run_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """With what the wheel says that it needs: a run must need no more, and a notebook IPython."""
    clean = Clean(tmp_path, wheel)
    clean.lend([*clean.needs(), "ipython"])
    notebooks = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == ["illusion", "own_model_and_data"]
    tiny = str(tiny_folder(tmp_path, "llama"))
    said = clean.run(
        clean.python, ROOT / "tests/run_from_wheel.py", *notebooks,
        START_MODEL=tiny, IPYTHONDIR=str(tmp_path / "ipython"),
    )  # fmt: skip
    assert said.splitlines()[-1] == f"all of {clean.site / 'causaldsl'}"
