"""The words that are known: the language's own, and those of other packages that a program uses."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from causaldsl.vocabulary.base import Maker, Word


@dataclass
class Vocabulary:
    """Words by their spelling: ``functions`` and ``makers`` are written ``word(operands)``,
    ``interventions`` ``word site clauses``, ``metrics`` in a `report`.

    A function becomes an operation of the graph; what a maker makes is known before the run.
    """

    functions: dict[str, type[Word]] = field(default_factory=dict)
    interventions: dict[str, type[Word]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    makers: dict[str, type[Maker]] = field(default_factory=dict)
    version: str = ""
    """The version of the package that they come from, where it is another one."""
    code: str = ""
    """Identifies that package's code."""

    def tables(self) -> tuple[dict[str, Any], ...]:
        return self.functions, self.interventions, self.metrics, self.makers

    def words(self) -> set[str]:
        return {word for table in self.tables() for word in table}

    def add(self, other: Vocabulary) -> None:
        """Take in the words of another vocabulary; none may be there already."""
        for mine, theirs in zip(self.tables(), other.tables(), strict=True):
            mine.update(theirs)


BUILT_IN = Vocabulary()
PACKAGES: dict[str, Vocabulary] = {}
"""The words of other packages that have been imported, by the package's name."""

Registered = TypeVar("Registered")
Made = TypeVar("Made", bound=Maker)


def function(cls: type[Word]) -> type[Word]:
    """Register a word written as a function. Raises TypeError if it does not say what it gives."""
    if cls.gives is None and cls.result is Word.result:
        raise TypeError(f"the word {cls.word} has neither `gives` nor `result`")
    return register(vocabulary_of(cls.__module__).functions, cls.word, cls)


def intervention(cls: type[Word]) -> type[Word]:
    """Register a word that changes an activation."""
    return register(vocabulary_of(cls.__module__).interventions, cls.word, cls)


def maker(cls: type[Made]) -> type[Made]:
    """Register a word that makes data or a site, written as a function."""
    makers: dict[str, Any] = vocabulary_of(cls.__module__).makers
    register(makers, cls.word, cls)
    return cls


def register(table: dict[str, Registered], word: str, entry: Registered) -> Registered:
    """Put an entry under a word into a table.

    Raises:
        ValueError: for a word that is there.
        TypeError: for one without a docstring, which is its entry in the reference.
    """
    if not (getattr(entry, "__doc__", None) or "").strip():
        raise TypeError(f"the word {word} has no docstring")
    if word in table:
        raise ValueError(f"the word {word} is defined twice")
    table[word] = entry
    return entry


def vocabulary_of(module: str) -> Vocabulary:
    """The vocabulary that a module's words belong to: that of its package."""
    package = module.partition(".")[0]
    if package == __name__.partition(".")[0]:
        return BUILT_IN
    return PACKAGES.setdefault(package, Vocabulary())


def package_name(cls: type) -> str:
    """The package that a word or metric comes from."""
    return cls.__module__.partition(".")[0]


def package_of(cls: type) -> str:
    """The name and version of another package that a word or metric comes from; else ""."""
    package = package_name(cls)
    return f"{package} {PACKAGES[package].version}" if package in PACKAGES else ""


def code_of(cls: type) -> str:
    """The same with its code, on which the word's values depend: who writes a package changes that
    more often than its version."""
    package = package_of(cls)
    return f"{package} {PACKAGES[package_name(cls)].code}" if package else ""


def code_digest(package: str) -> str:
    """A hash of the Python files of a package that has been imported."""
    module = sys.modules[package]
    folders = map(Path, getattr(module, "__path__", ()))
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not files and getattr(module, "__file__", None):
        files = [Path(str(module.__file__))]
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
