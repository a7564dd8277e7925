"""Prompts that are nearly copies of each other, and would count as units of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from causaldsl.check.context import Context
from causaldsl.check.pairs import Pair, PairSet
from causaldsl.check.units import join
from causaldsl.diagnostics import Span

_NUMBERED = re.compile(r"^\s*(?:[(\[]?(?:\d+|[A-Za-z])[.):\]]+|[-*#•])\s+(?=.*[^\W\d_])", re.DOTALL)
"""`10. ` or `(b) ` before a text with words. Numbers elsewhere may be what a prompt is about."""


def plain(text: str) -> str:
    """A text without white space, case, and a number in front of it.

    >>> plain("10. Then,  Amy left") == plain("11. then, Amy left ")
    True
    """
    return "".join(_NUMBERED.sub("", text).split()).casefold()


def warn_of_copies(context: Context, name: str, sets: Sequence[PairSet], span: Span) -> None:
    """Warn of prompts that are alike but for what :func:`plain` leaves out."""
    pairs = [pair for part in sets for pair in part.pairs]
    units = len(set(join([pair.named for pair in pairs])))
    left = len(set(join([[*pair.named, *_plain(pair)] for pair in pairs])))
    if left == units:
        return
    texts = [{named for pair in part.pairs for named in _plain(pair)} for part in sets]
    across = " They are in both train and test." * (len(texts) == 2 and bool(texts[0] & texts[1]))
    context.warn(
        "alike-pairs",
        f"prompts of `{name}` differ only in white space, case or a number in front: as copies of "
        f"each other its {units} units would be {left}.{across}".removesuffix("."),
        span,
        f'give those that are alike one `cluster` in the file, such as "{_first(pairs)}"',
    )


def _plain(pair: Pair) -> list[tuple[str, str]]:
    return [("plain", plain(prompt.text)) for prompt in pair.prompts]


def _first(pairs: Sequence[Pair]) -> str:
    """The first prompt that is like one before it, and not the same."""
    seen: dict[str, str] = {}
    prompts = (prompt.text for pair in pairs for prompt in pair.prompts)
    return next(text for text in prompts if seen.setdefault(plain(text), text) != text)
