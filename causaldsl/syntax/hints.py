"""What is likely meant where a statement stops: said in place of all that could stand there."""

from __future__ import annotations

import re

_HINTS = (
    (r"pairs\s+\w+\s*=\s*(\w+)\s*", "{", "say which patterns they have: {} A <-> B {{ test 20 }}"),
    (r"position\s[^}]*?(\w+)\s*=\s*(\w+)", ".", "a column has no place of its own: {} = {}"),
    (r"answer\s+", "{", "without braces: answer X.capital"),
)
"""What stands before the place, what stands there, and what to write; names are filled in."""


def hint(before: str, here: str) -> str | None:
    """What to write where ``here`` can't follow ``before``, the text of the statement so far.

    >>> hint("pairs p = facts ", "{")
    'say which patterns they have: facts A <-> B { test 20 }'
    """
    for pattern, token, help in _HINTS:
        found = re.search(rf"{pattern}$", before)
        if here.startswith(token) and found is not None:
            return help.format(*found.groups())
    return None
