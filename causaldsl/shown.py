"""Text of a program, a file or a model, made fit to be shown.

Terminals obey control characters, and readers are led astray by marks that turn the direction of
writing: both are shown as what they are, and nothing else is changed.
"""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for the tab and the line break
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"  # direction, width 0
    "\ud800-\udfff"  # halves of characters, which can't be written
    "\U000e0000-\U000e007f]"  # invisible copies of ASCII
)


def visible(text: str) -> str:
    """The text with what a terminal or a page would obey written as JSON writes it.

    >>> visible("\\x1b[31mred"), visible("two\\nlines")
    ('\\\\u001b[31mred', 'two\\nlines')
    """
    return _OBEYED.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code > 0xFFFF:  # as JSON does it: in two halves
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"


def is_plain(text: str) -> bool:
    """Whether a text is one line of characters that are all shown as they are."""
    return visible(text) == text and "\n" not in text and "\t" not in text


def one_line(said: object, most: int = 200) -> str:
    """What a library says of an error, on one line of so many characters at most."""
    return " ".join(str(said).split())[:most]
