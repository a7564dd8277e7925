"""Every code of a message is explained, by examples that give exactly it."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import causaldsl as cd
from causaldsl.check.program import Checker
from causaldsl.cli import main
from causaldsl.codes import NO_FILES, PRELUDE, PROGRAM, PYTHON, SHELL, Code, codes
from causaldsl.diagnostics import Mistake, ProgramError, Source
from causaldsl.vocabulary.warnings import WARNINGS
from tests.frontend.lab import installed
from tests.frontend.world import make_world

PACKAGE = Path(__file__).parents[2] / "causaldsl"
PROGRAMS = [code for code in codes().values() if any(e.of == PROGRAM for e in code.examples)]
COMMANDS = [code for code in codes().values() if any(e.of == SHELL for e in code.examples)]
CALLS = [code for code in codes().values() if any(e.of == PYTHON for e in code.examples)]
_CALLS = {"wrong": 0, "Mistake": 0, "Diagnostic": 0, "warn": 0, "_warn": 1, "OperandMistake": 1,
          "check": 2, "plain": 3, "read_object": 1}  # fmt: skip
"""The functions that make a message, and which of their arguments is its code."""
_MADE = {"argmax-here", "unknown-backend", "unknown-dtype"}
"""Codes that are put together from parts."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a model and data, into which examples write files of their own, beside
    packages of words."""
    folder = make_world(tmp_path_factory.mktemp("codes"))
    (folder / "params.cpatch").write_text('model lm = "tiny-llama"\nparam layer = 1\n')
    with installed(tmp_path_factory.mktemp("packages")):
        yield folder


def found(code: Code, side: str, folder: Path) -> set[str]:
    """The codes of what is said of an example, after its files were written."""
    (program,) = (getattr(e, side) for e in code.examples if e.of == PROGRAM)
    for example in code.examples:
        if example.of not in NO_FILES:
            (folder / example.of).write_text(getattr(example, side))
    try:
        said = Checker(Source("case.cpatch", program), folder / "case.cpatch").check().warnings
    except ProgramError as error:
        said = list(error.diagnostics)
    return {diagnostic.code for diagnostic in said}


@pytest.mark.parametrize("code", PROGRAMS, ids=lambda code: code.name)
def test_the_wrong_example_gives_this_code_and_the_right_one_none(code: Code, place: Path) -> None:
    assert found(code, "bad", place) == {code.name}
    assert found(code, "good", place) == set()


@pytest.mark.parametrize("code", COMMANDS, ids=lambda code: code.name)
def test_the_wrong_command_gives_this_code_and_the_right_one_none(
    code: Code, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    (example,) = code.examples
    *before, last = example.bad.splitlines()
    for command in before:
        assert main(shlex.split(command)[1:]) == 0
    assert main(shlex.split(last)[1:]) == 2
    assert re.findall(r"^error\[(.+?)\]", capsys.readouterr().err, re.M) == [code.name]
    for command in example.good.splitlines():
        assert main(shlex.split(command)[1:]) == 0
    assert not re.findall(r"^error", capsys.readouterr().err, re.M)


@pytest.mark.parametrize("code", CALLS, ids=lambda code: code.name)
def test_the_wrong_call_gives_this_code_and_the_right_one_none(
    code: Code, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    (example,) = code.examples
    with pytest.raises((Mistake, ProgramError)) as caught:
        exec(example.bad, {"cd": cd})
    error = caught.value
    said = {error.code} if isinstance(error, Mistake) else {d.code for d in error.diagnostics}
    assert said == {code.name}
    exec(example.good, {"cd": cd})


def raised() -> set[str]:
    """Every code that stands in the package's source, where a message is made."""
    names = set(_MADE)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = _CALLS.get(name)
            argument = node.args[at] if at is not None and len(node.args) > at else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                names.add(argument.value)
    return names - {""}


def test_every_code_is_explained_and_every_one_that_is_explained_is_a_code() -> None:
    assert raised() == codes().keys()


def test_every_warning_has_an_example() -> None:
    assert {code.name for code in PROGRAMS if code.warning} == WARNINGS.keys()
    assert len(PROGRAMS) > 180


def test_every_code_has_an_example_but_for_a_few() -> None:
    """Those come of what a test can't bring about at once: a cache that is damaged with no network,
    a wrong download, packages that are not there, a conversion by transformers."""
    without = {code.name for code in codes().values() if not code.examples}
    assert without == {
        "bad-manifest", "conversion-failed", "model-damaged", "no-editor", "no-ray", "no-submitit",
        "wrong-checksum",
    }  # fmt: skip


def test_each_means_something() -> None:
    for code in codes().values():
        assert code.meaning, code.name
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.name)
        assert all(e.bad != e.good for e in code.examples[:1]) or len(code.examples) > 1, code.name
    assert PRELUDE == 'import "prompts.cpatch"\n'


def test_explain_prints_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "layer-range"]) == 0
    page = capsys.readouterr().out
    assert "-site a = resid_post[4] @ END\n  +site a = resid_post[3] @ END" in page
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out.split()
    assert set(codes()) <= set(listed)
    assert main(["explain", "layer_range"]) == 2
    assert "did you mean `layer-range`?" in capsys.readouterr().err
