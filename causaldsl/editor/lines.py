"""Places as editors count them: lines from 0, and in a line the units of UTF-16."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Lines:
    """The lines of a text."""

    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _BREAK.finditer(self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character of the text.

        >>> Lines("a\\n\U0001f600b").position(3)
        (1, 2)
        """
        line = bisect_right(self._starts, offset) - 1
        before = self.text[self._starts[line] : offset]
        return line, len(before.encode("utf-16-le")) // 2

    def offset(self, line: int, column: int) -> int:
        """The character at a line and column; the nearest one, if there is none there.

        >>> Lines("a\\n\U0001f600b").offset(1, 2)
        3
        """
        if line >= len(self._starts):
            return len(self.text)
        start = self._starts[line]
        end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.text)
        content = _BREAK.sub("", self.text[start:end])
        units = content.encode("utf-16-le")[: 2 * column]
        return start + len(units.decode("utf-16-le", errors="ignore"))
