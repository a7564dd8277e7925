"""A package of words that is installed as far as Python sees, and others that can't be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from causaldsl.vocabulary.register import PACKAGES

WORDS = '''
import csv
from causaldsl.vocabulary.base import Operand, Pure
from causaldsl.vocabulary.register import function, maker
from causaldsl.vocabulary.types import NumberType, SubspaceType
from causaldsl.vocabulary.makers import Reader

ENGINE = "my_lab_words.engine"


@function
class Double(Pure):
    """Twice a number."""

    word = "double"
    operands = (Operand("of", "number"),)

    def result(self, types):
        return NumberType()


@maker
class MyCsv(Reader):
    """Pairs from a table."""

    word = "my_csv"
    delimiter: str = ","

    def rows(self, path):
        with path.open(newline="") as file:
            yield from csv.DictReader(file, delimiter=self.delimiter, strict=True)
'''
MODULES = {
    "my_lab_words": WORDS,
    "my_broken_words": WORDS + "\nraise OSError('no\\nlicence')",
    "my_empty_words": "",
}


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The packages of ``MODULES``, installed in a folder while the block lasts."""
    for name, text in MODULES.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
        (folder / name / "words.py").write_text(text)
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[causaldsl.words]\n{name} = {name}.words\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    for module in [m for m in sys.modules if m.partition(".")[0] in MODULES]:
        del sys.modules[module]
    PACKAGES.clear()
