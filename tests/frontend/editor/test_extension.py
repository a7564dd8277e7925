"""The VS Code extension: its files, what it starts, and that it can be packed."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.frontend.editor.client import ROOT, Client

FOLDER = ROOT / "editors" / "vscode"
PACKAGE = json.loads((FOLDER / "package.json").read_text())
OWN = [sys.executable, "-m", "causaldsl"]
node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def hosted(command: list[str], fails: str = "") -> dict[str, Any]:
    """What the extension does from its start to its end."""
    host = Path(__file__).parent / "extension_host.js"
    given = ["node", str(host), str(FOLDER / "extension.js"), json.dumps(command), fails]
    done = subprocess.run(given, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


def test_its_grammar_is_made_from_the_language() -> None:
    made = runpy.run_path(str(FOLDER / "make_grammar.py"))
    assert made["PATH"].read_text() == made["text"](), "run editors/vscode/make_grammar.py"


def test_the_files_that_it_names_are_there() -> None:
    brings = PACKAGE["contributes"]
    files = [part["path"] for part in brings["grammars"]]
    files += [part["configuration"] for part in brings["languages"]]
    for name in (*files, PACKAGE["main"]):
        assert (FOLDER / name).is_file(), name
    json.loads((FOLDER / "language-configuration.json").read_text())
    assert (
        brings["grammars"][0]["scopeName"]
        == json.loads((FOLDER / files[0]).read_text())["scopeName"]
    )


@node
def test_it_starts_the_server(tmp_path: Path) -> None:
    pytest.importorskip("pygls", reason="the extra `editor` is not installed")
    done = hosted(OWN)
    assert done["commands"] == [part["command"] for part in PACKAGE["contributes"]["commands"]]
    assert len(done["started"]) == done["stopped"] == 2  # once by the restart
    assert done["complaints"] == []
    first = done["started"][0]
    (language,) = PACKAGE["contributes"]["languages"]
    assert first["options"]["documentSelector"] == [{"language": language["id"]}]
    server = first["server"]
    client = Client(tmp_path, command=[server["command"], *server["args"]])
    client.write(tmp_path / "x.cpatch", "let a = nowhere\n")
    (found,) = client.found(tmp_path / "x.cpatch", {"unknown-name"})
    assert "nowhere" in found["message"]
    assert client.end() == 0


@node
def test_it_says_how_to_get_the_server() -> None:
    done = hosted(["nowhere", "run"], fails="yes")
    assert len(done["complaints"]) == 2
    assert 'pip install "causaldsl[editor]"' in done["complaints"][0]
    assert "`nowhere run`" in done["complaints"][0]


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_it_can_be_packed(tmp_path: Path) -> None:
    copy = tmp_path / "vscode"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("node_modules", "*.vsix"))
    got = subprocess.run(["npm", "ci", "--no-audit"], cwd=copy, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"the registry can't be reached: {got.stderr[-200:]}")
    subprocess.run(["npm", "run", "package"], cwd=copy, check=True, timeout=300)
    (packed,) = copy.glob("*.vsix")
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(packed)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in ("extension.js", "cpatch.tmLanguage.json", "vscode-languageclient"):
        assert name in listed.stdout
    assert "make_grammar" not in listed.stdout
