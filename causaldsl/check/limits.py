"""How much a program may ask for, counted before anything is built.

A program of a stranger is a few lines of text, and a few lines can ask for more than any machine
has. Each number here is far above what experiments need; whoever needs more says so where the
program is run: ``--limit cells=20000``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from causaldsl.diagnostics import Mistake, suggest
from causaldsl.vocabulary.makers import MOST_PROMPTS

USUAL = {
    "bytes": 256 * 2**20,
    "cells": 5_000,
    "characters": 1_000_000,
    "imports": 100,
    "pairs": 50_000,
    "pictures": 200,
    "prompts": MOST_PROMPTS,
    "words": 100_000,
}
ABOUT = {
    "bytes": "of a file of words, pairs, texts or directions",
    "cells": "of one sweep or table, counted for each of its arms",
    "characters": "of a program, and of each file that it imports",
    "imports": "files that a program imports, each counted once",
    "pairs": "of one `pairs` statement, training and test together",
    "pictures": "that a program draws",
    "prompts": "of a corpus",
    "words": "of a lexicon",
}
DEEPEST_IMPORT = 20
"""How many files may import one another in a row."""


@dataclass(frozen=True)
class Limits:
    """The numbers of ``USUAL``, some of them raised (or lowered) by ``changed``."""

    changed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, number in self.changed.items():
            if name not in USUAL:
                way = suggest(name, USUAL, "limits")
                raise Mistake("unknown-limit", f"there is no limit `{name}`", way)
            if number < 1:
                raise Mistake("bad-limit", f"a limit is a whole number from 1, not {number}")

    def __getitem__(self, name: str) -> int:
        return self.changed.get(name, USUAL[name])

    def check(self, name: str, count: int, code: str, message: str, way: str = "") -> None:
        """Raise :class:`Mistake` if there are more than this limit allows.

        ``message`` has ``{}`` in the place of the count; ``way`` is a way out beside raising it.
        """
        if count > self[name]:
            raises = f"raise it with `--limit {name}={counted(count)}`"
            allowed = f"at most {self[name]} are allowed"
            if count >= _MANY:
                raises = f"`--limit {name}=NUMBER` raises it"
            help = f"{allowed}; {way}, or {raises}" if way else f"{allowed}; {raises}"
            raise Mistake(code, message.format(counted(count)), help)


_MANY = 10**15


def counted(number: int) -> str:
    """A count in digits; of one with very many, only about how many.

    >>> counted(5000), counted(10**400)
    ('5000', 'about 10^400')
    """
    if number < _MANY:
        return str(number)
    return f"about 10^{round((number.bit_length() - 1) * 0.30103)}"
