"""The tutorial, typed as it stands there: every block in its order, in a folder of its own.

Quickly on a narrow random model of SmolLM2's layout, with fewer pairs, where claims may fall; and
on the model itself as it is written.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from causaldsl.cli import main
from causaldsl.model.catalog import catalog
from tests.engine.small import FEWER, shrink
from tests.tiny import deep_folder

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tutorial.md").read_text()
SMOL = "smollm2-135m"
BLOCK = re.compile(r"((?:(?!^```).)*?)^```(\w*)\n(.*?)^```$", re.M | re.S)
HELD, FELL, UNDECIDED = 0, 1, 4


def typed(page: str, ends: set[int]) -> list[str]:
    """Do what the page says, in the current folder. Gives the commands that were typed."""
    commands: list[str] = []
    saved: dict[str, str] = {}
    program = ""
    for before, kind, text in BLOCK.findall(page):
        if kind == "cpatch" or (kind == "text" and "model lm" in text):
            begins = re.search(r"^(model|import) ", text, re.M)
            program = text if begins else f'import "ioi.cpatch"\n{text}'
            Path("programs/example.cpatch").write_text(program)
            if kind == "cpatch":
                assert main(["check", "programs/example.cpatch"]) == HELD
        for name in re.findall(r"[Ss]ave (?:it|this one) as\s+`([^`]+)`", before):
            saved[name] = program
            Path(name).write_text(program)
        if kind == "":
            for line in filter(None, text.splitlines()):
                commands.append(line)
                _type(line, ends)
    assert len(saved) == 3
    return commands


def _type(line: str, ends: set[int]) -> None:
    word, *rest = shlex.split(line)
    if word == "cp":
        shutil.copy(*rest)
        return
    assert word == "causaldsl", line
    claims = rest[0] in ("run", "audit") and "toy" not in line
    assert main(rest) in (ends if claims else {HELD}), line


def _fewer(block: re.Match[str]) -> str:
    text = block[0]
    for old, new in FEWER.items():
        text = re.sub(old, new.format(pairs=6, texts=6), text)
    return text


def test_the_tutorial_works_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [path.read_text() for path in (ROOT / "programs/lexicons").glob("*.txt")]
    texts += [PAGE, *(path.read_text() for path in (ROOT / "programs").rglob("*.*l*"))]
    words = sorted({word for text in texts for word in re.findall(r"[A-Za-z]+", text)})
    model = str(deep_folder(tmp_path, words))
    (tmp_path / "programs").mkdir()
    shrink(ROOT / "programs", tmp_path / "programs", pairs=6, texts=6)
    for path in (tmp_path / "programs").glob("*.cpatch"):
        path.write_text(path.read_text().replace(SMOL, model))
    page = re.sub(
        r"^```(?:cpatch|text)\n.*?^```", _fewer, PAGE.replace(SMOL, model), flags=re.M | re.S
    )
    monkeypatch.chdir(tmp_path)
    commands = typed(page, {HELD, FELL, UNDECIDED})
    assert len(commands) >= 12
    assert "loaded" in capsys.readouterr().out


@pytest.mark.soak
@pytest.mark.skipif(
    not next(entry.present for entry in catalog() if entry.name == SMOL),
    reason=f"{SMOL} is not on this machine: causaldsl models pull {SMOL}",
)
def test_the_tutorial_works_on_the_model_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "programs", tmp_path / "programs")
    monkeypatch.chdir(tmp_path)
    typed(PAGE, {HELD})
