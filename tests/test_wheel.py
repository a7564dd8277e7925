"""The wheel, installed in a clean environment, checks every program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from causaldsl.model.catalog import catalog

ROOT = Path(__file__).parents[1]
PRESENT = next(entry.present for entry in catalog() if entry.name == "smollm2-135m")


def command(*arguments: object, **settings: object) -> str:
    done = subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, check=False, **settings
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.skipif(not PRESENT, reason="smollm2-135m is not on this machine")
def test_the_wheel_checks_every_program(tmp_path: Path) -> None:
    """Only the front end's few dependencies are installed: checking must need no more."""
    command(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "-w", tmp_path, ROOT)  # fmt: skip
    (wheel,) = tmp_path.glob("causaldsl-*.whl")
    command(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    light = ["lark", "pydantic", "networkx", "tokenizers", "safetensors", "huggingface-hub",
             "platformdirs", "numpy", "gguf", "rich", "graphviz"]  # fmt: skip
    command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "-c", ROOT / "constraints.txt", *light)  # fmt: skip
    command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            wheel)  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command(tmp_path / "venv/bin/causaldsl", "format", "--check", ROOT / "programs/ioi.cpatch",
            cwd=tmp_path,
            env={**environment, "CAUSALDSL_CACHE": str(tmp_path / "cache")})  # fmt: skip
    assert not (tmp_path / "cache").exists(), "the wheel has the parser's tables"
    where = command(python, "-c", "import causaldsl; print(causaldsl.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where
    names = "import causaldsl as cd; print([getattr(cd, name) for name in cd.__all__])"
    command(python, "-c", names, cwd=tmp_path, env=environment)
    said = command(tmp_path / "venv/bin/causaldsl", "explain", "layer-range", cwd=tmp_path,
                   env=environment)  # fmt: skip
    assert "causaldsl sites" in said
    for program in sorted(ROOT.glob("programs/*.cpatch")):
        said = command(tmp_path / "venv/bin/causaldsl", "check", program, cwd=tmp_path,
                       env=environment)  # fmt: skip
        assert "is right" in said
