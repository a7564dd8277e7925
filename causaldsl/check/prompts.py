"""What `lexicon` and `prompts` name: words, templates with slots, and where positions are."""

from __future__ import annotations

from dataclasses import dataclass, field

from causaldsl.check.kinds import Value
from causaldsl.diagnostics import Mistake, Span
from causaldsl.model.tokens import Tokens


@dataclass(frozen=True)
class Lexicon(Value):
    """Words to fill slots with; with a split, training and test prompts share no word."""

    kind = "a lexicon"
    name: str
    words: tuple[str, ...]
    halves: bool
    one_token: bool
    span: Span = field(compare=False, repr=False)

    def of_role(self, role: str) -> tuple[str, ...]:
        """The words for a role. The split takes every other word, so that a sorted list is fair."""
        if not self.halves:
            return self.words
        return self.words[0::2] if role == "train" else self.words[1::2]


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


def check_lexicon_tokens(lexicon: Lexicon, tokens: Tokens, model: str) -> None:
    """Every word must be one token after a space, so that it can be an answer."""
    if not lexicon.one_token:
        return
    bad = [word for word in lexicon.words if tokens.single(" " + word) is None]
    if bad:
        shown = ", ".join(f"{w} ({'|'.join(tokens.pieces(' ' + w)).strip()})" for w in bad[:4])
        more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
        count = "is not one token" if len(bad) == 1 else "are not one token each"
        raise Mistake(
            "not-one-token",
            f"{shown}{more} {count} in {model}",
            "take them out of the lexicon, or write phrases(...) for words that are never answers",
        )
