"""What `lexicon` and `prompts` name: words, templates with slots, and where positions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from causaldsl.check.kinds import Value
from causaldsl.diagnostics import Span
from causaldsl.model.tokens import Tokens


@dataclass(frozen=True)
class Lexicon(Value):
    """Words to fill slots with; with a split, training and test prompts share no word.

    ``dropped`` are those that are not one token for this model: the others keep their part of the
    split, whatever model it is.
    """

    kind = "a lexicon"
    name: str
    words: tuple[str, ...]
    halves: bool
    one_token: bool
    span: Span = field(compare=False, repr=False)
    dropped: frozenset[str] = frozenset()

    def of_role(self, role: str) -> tuple[str, ...]:
        """The words for a role. The split takes every other word, so that a sorted list is fair."""
        words = self.words
        if self.halves:
            words = words[0::2] if role == "train" else words[1::2]
        return tuple(word for word in words if word not in self.dropped)


@dataclass(frozen=True)
class Template:
    role: str
    pieces: tuple[str, ...]
    slots: tuple[str, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def text(self) -> str:
        """As it is written, with its slots in braces."""
        filled = zip(self.slots, self.pieces[1:], strict=True)
        return self.pieces[0] + "".join(f"{{{slot}}}{piece}" for slot, piece in filled)


@dataclass(frozen=True)
class PromptFamily(Value):
    """A checked `prompts` block. ``groups`` are the slots that one `slots` entry lists."""

    kind = "a prompts block"
    name: str
    templates: tuple[Template, ...]
    groups: tuple[tuple[str, ...], ...]
    lexicons: dict[str, Lexicon]
    answer: str
    foil: str
    places: tuple[tuple[str, str, Span], ...]
    span: Span = field(compare=False, repr=False)

    def of_role(self, role: str) -> tuple[Template, ...]:
        return tuple(t for t in self.templates if t.role == role)


def split_words(words: Sequence[str], tokens: Tokens) -> frozenset[str]:
    """The words that are not one token after a space, so that they can't be an answer."""
    return frozenset(word for word in words if tokens.single(" " + word) is None)


def in_pieces(words: Sequence[str], tokens: Tokens) -> str:
    """The first of some words with their tokens: `Bartholomew (Bart|hol|omew) and 3 more`."""
    shown = ", ".join(f"{w} ({'|'.join(tokens.pieces(' ' + w)).strip()})" for w in words[:4])
    return shown + (f" and {len(words) - 4} more" if len(words) > 4 else "")
