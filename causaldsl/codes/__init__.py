"""What each code of a message means: one table, kept as Markdown files beside this one.

A section is a code, what it means (a warning says that in `WARNINGS`), and examples as differences:
a program or data file that gives exactly this code has the lines with `-`, one that gives none the
lines with `+`. The tests run both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from causaldsl.diagnostics import Mistake, suggest
from causaldsl.vocabulary.warnings import WARNINGS

TOPICS = (
    "language", "places", "prompts", "data", "measuring", "paths", "circuits", "attributions",
    "models", "commands",
)  # fmt: skip
PROGRAM, SHELL, PYTHON = "", "shell", "python"
NO_FILES = (PROGRAM, SHELL, PYTHON)
"""What an example is, if it is no data file."""
PRELUDE = 'import "prompts.cpatch"\n'
"""What stands before an example that names no model."""
_EXAMPLE = re.compile(r"^```diff ?(.*)\n((?:[-+ ].*\n|\n)*)^```$", re.M)


@dataclass(frozen=True)
class Example:
    """A program (``of`` is ``PROGRAM``), a data file (its name), a command (``SHELL``) or lines of
    ``PYTHON``, wrong and right, as the lines of a difference."""

    of: str
    lines: tuple[str, ...]

    @property
    def bad(self) -> str:
        return self._without("+")

    @property
    def good(self) -> str:
        return self._without("-")

    def _without(self, sign: str) -> str:
        kept = [line[1:] for line in self.lines if not line.startswith(sign)]
        text = "".join(f"{line}\n" for line in kept)
        begins = self.of != PROGRAM or re.search(r"^(model|import) ", text, re.M)
        return text if begins else PRELUDE + text


@dataclass(frozen=True)
class Code:
    """A code, what it means, and examples."""

    name: str
    topic: str
    meaning: str
    examples: tuple[Example, ...]

    @property
    def warning(self) -> bool:
        return self.name in WARNINGS


@cache
def codes() -> Mapping[str, Code]:
    """Every code by its name, in the order of their pages."""
    return {code.name: code for topic in TOPICS for code in _of(topic)}


@cache
def title(topic: str) -> str:
    """The heading of a topic's page."""
    return _text(topic).splitlines()[0].removeprefix("# ")


def explained(name: str) -> Code:
    """The entry of a code. Raises :class:`Mistake` if there is none."""
    found = codes().get(name)
    if found is None:
        raise Mistake("unknown-code", f"no message has the code `{name}`", suggest(name, codes()))
    return found


def _text(topic: str) -> str:
    return (Path(__file__).parent / f"{topic}.md").read_text(encoding="utf-8")


def _of(topic: str) -> list[Code]:
    found = []
    for section in re.split(r"^## ", _text(topic), flags=re.M)[1:]:
        name, _, body = section.partition("\n")
        examples = tuple(Example(m[1], tuple(m[2].splitlines())) for m in _EXAMPLE.finditer(body))
        meaning = " ".join(_EXAMPLE.sub("", body).split())
        found.append(Code(name, topic, WARNINGS.get(name, meaning), examples))
    return found
