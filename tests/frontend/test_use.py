"""`use "PACKAGE"`: words that an installed package brings, and what is said where it can't."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source, render_all
from causaldsl.vocabulary.register import BUILT_IN, PACKAGES
from tests.frontend.lab import WORDS, installed
from tests.frontend.world import PRELUDE

ROWS = """base;source;answer;foil
The man gave Mary the ring;The man gave John the ring; book; snack
The boy gave Amy the book;The boy gave Dan the book; ring; apple
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """A folder with an installed package of words, and with others that can't be used."""
    with installed(tmp_path):
        yield tmp_path


def check(text: str, world: Path) -> CheckedProgram:
    here = world / "case.cpatch"
    return Checker(Source("case.cpatch", text), here, allowed=[world.parent]).check()


def message(text: str, world: Path) -> str:
    with pytest.raises(ProgramError) as caught:
        check(text, world)
    return render_all(caught.value.diagnostics)


def program(lab: Path, rows: str = ROWS, options: str = ', delimiter: ";"') -> str:
    (lab / "file.csv").write_text(rows)
    return (
        'use "my_lab_words"\nmodel lm = "tiny-llama"\n'
        f'pairs p = my_csv("{lab / "file.csv"}"{options})\n'
    )


def test_words_join_the_program(lab: Path, world: Path) -> None:
    checked = check(program(lab) + "let x = double(3)\nexpect x > 2\n", world)
    assert [pair.base.text for pair in checked.families["p"].whole.pairs] == [
        "The man gave Mary the ring",
        "The boy gave Amy the book",
    ]
    assert checked.families["p"].whole.name == "p"
    assert checked.named["x"].word.word == "double"
    assert checked.packages == {"my_lab_words": "1.2"}
    assert checked.engines == ["my_lab_words.engine"]
    assert "my_lab_words.engine" not in sys.modules
    assert not {"double", "my_csv"} & BUILT_IN.words()


def test_rows_are_split_as_those_of_any_reader(lab: Path, world: Path) -> None:
    family = check(program(lab, options=', delimiter: ";", train: 0.5'), world).families["p"]
    assert {name: part.name for name, part in family.parts.items()} == {
        "train": "p.train",
        "test": "p.test",
    }


def test_a_program_without_use_sees_nothing(lab: Path, world: Path) -> None:
    check(program(lab), world)
    del sys.modules["my_lab_words.words"]
    text = program(lab).partition("\n")[2]
    assert "error[bad-pairs]: this does not make pairs" in message(text, world)
    assert "my_lab_words.words" not in sys.modules
    assert check(PRELUDE + "let double = 3\n", world).packages == {}


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        (ROWS + "The girl;;; x\n", "", "file.csv, row 3: the answer '' is not one token"),
        (ROWS + 'The girl;The "boy" y;a;"b\n', "", "file.csv, row 3 can't be read: Error: "),
        (ROWS.replace("foil", "fool"), "", "file.csv, row 1 has an unknown field `fool`"),
        ("base;source\n", "", "file.csv has no pairs"),
        (ROWS, ", quote: 3", "`my_csv` has no option `quote`"),
        (ROWS, ", train: 2", "`train` of `my_csv` can't be 2"),
    ],
)
def test_mistakes_have_their_row(
    lab: Path, world: Path, rows: str, options: str, expected: str
) -> None:
    assert expected in message(program(lab, rows, ', delimiter: ";"' + options), world)


def test_a_package_that_is_not_there(lab: Path, world: Path) -> None:
    assert message('use "my_lab_word"\n', world) == (
        "error[unknown-package]: no package that is installed offers words as `my_lab_word`\n"
        "  --> case.cpatch:1:5\n"
        "   |\n"
        ' 1 | use "my_lab_word"\n'
        "   |     ^^^^^^^^^^^^^\n"
        "  help: installed are my_broken_words, my_empty_words, my_lab_words; "
        "try: pip install my_lab_word"
    )


def test_a_package_that_fails(lab: Path, world: Path) -> None:
    for _ in range(2):  # what it has registered before it failed is gone
        text = message('use "my_broken_words"\n', world)
        assert "the words of `my_broken_words` can't be imported: OSError: no licence\n" in text
    assert not PACKAGES["my_broken_words"].words()


@pytest.mark.parametrize(
    ("before", "what"), [("let double = 3\n", "a name of this program"), ("", "a word already")]
)
def test_a_word_that_means_something_else(lab: Path, world: Path, before: str, what: str) -> None:
    word = "double" if before else "cos"
    path = lab / "my_lab_words" / "words.py"
    path.write_text(WORDS.replace('word = "double"', f'word = "{word}"'))
    text = message(before + 'use "my_lab_words"\n', world)
    assert f"error[word-twice]: `my_lab_words` brings the word `{word}`, which is {what}\n" in text


def test_used_twice_is_used_once(lab: Path, world: Path) -> None:
    checked = check('use "my_lab_words"\n' + program(lab), world)
    assert checked.packages == {"my_lab_words": "1.2"}
