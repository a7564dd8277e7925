"""What `lexicon` and `prompts` name: words, templates with slots, and where positions are."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
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
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    """What stands beside each word, by column."""

    def of_role(self, role: str) -> tuple[str, ...]:
        """The words for a role. The split takes every other word, so that a sorted list is fair."""
        words = self.words
        if self.halves:
            words = words[0::2] if role == "train" else words[1::2]
        return tuple(word for word in words if word not in self.dropped)

    def beside(self, word: str, column: str) -> str:
        """What stands beside a word in a column; without one the word itself."""
        return self.columns[column][word] if column else word

    def alike(self, column: str, role: str) -> list[list[str]]:
        """The words for a role by what stands beside them, every other such group if split."""
        groups: dict[str, list[str]] = {}
        for word in self.words:
            groups.setdefault(self.columns[column][word], []).append(word)
        found = list(groups.values())
        return found[0 if role == "train" else 1 :: 2] if self.halves else found


@dataclass(frozen=True)
class Template:
    """Text around slots; a slot may be a column of its lexicon, `X.capital`."""

    role: str
    pieces: tuple[str, ...]
    slots: tuple[str, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def letters(self) -> tuple[str, ...]:
        """The slots that it uses, whatever column of them, each once."""
        return tuple(dict.fromkeys(slot.partition(".")[0] for slot in self.slots))

    @property
    def text(self) -> str:
        """As it is written, with its slots in braces."""
        filled = zip(self.slots, self.pieces[1:], strict=True)
        return self.pieces[0] + "".join(f"{{{slot}}}{piece}" for slot, piece in filled)


Chosen = Callable[[Sequence[str], int], Sequence[str]]
SELECTORS: dict[str, Chosen] = {
    "after": lambda words, own: words[own + 1 :],
    "before": lambda words, own: words[:own],
    "from": lambda words, own: words[own:],
    "upto": lambda words, own: words[: own + 1],
    "other": lambda words, own: [*words[:own], *words[own + 1 :]],
}
"""Which of a lexicon's words, in its order, are meant beside the one that fills a slot."""


@dataclass(frozen=True)
class AnswerOf:
    """What is an answer or foil: a text, or the word of a letter or slot, or a column beside it.

    With ``select`` it is those of the lexicon's words (``SELECTORS``).
    """

    text: str
    """As it is written, or the text itself."""
    span: Span = field(compare=False, repr=False)
    literal: bool = False
    select: str = ""

    def __str__(self) -> str:
        return f'"{self.text}"' if self.literal else f"{self.select} {self.text}".lstrip()

    def words(self, lexicon: Lexicon, own: str, dropped: Container[str] = ()) -> list[str]:
        """The words that it stands for where ``own`` fills its slot; no column has one twice.

        ``dropped`` are words of the lexicon that are left out of these pairs.
        """
        if not self.select:
            return [lexicon.beside(own, self.column)]
        known = [w for w in lexicon.words if w not in lexicon.dropped and w not in dropped]
        beside = list(dict.fromkeys(lexicon.beside(word, self.column) for word in known))
        return list(SELECTORS[self.select](beside, beside.index(lexicon.beside(own, self.column))))

    @property
    def name(self) -> str:
        return "" if self.literal else self.text.partition(".")[0]

    @property
    def column(self) -> str:
        return "" if self.literal else self.text.partition(".")[2]


@dataclass(frozen=True)
class PromptFamily(Value):
    """A checked `prompts` block. ``groups`` are the slots that one `slots` entry lists."""

    kind = "a prompts block"
    name: str
    templates: tuple[Template, ...]
    groups: tuple[tuple[str, ...], ...]
    lexicons: dict[str, Lexicon]
    answer: tuple[AnswerOf, ...]
    foil: tuple[AnswerOf, ...] | None
    places: tuple[tuple[str, str, Span], ...]
    span: Span = field(compare=False, repr=False)
    frame: str | None = None
    """What stands around every prompt: `chat`, or nothing."""

    @property
    def answers(self) -> str:
        """What it says of them, as it is written."""
        said = {"answer": self.answer, "foil": self.foil or ()}
        return "  ".join(f"{name} {listed(some)}" for name, some in said.items() if some)

    def of_role(self, role: str) -> tuple[Template, ...]:
        return tuple(t for t in self.templates if t.role == role)


def listed(answers: Sequence[AnswerOf]) -> str:
    """Answers as they are written."""
    return str(answers[0]) if len(answers) == 1 else f"[{', '.join(map(str, answers))}]"


def split_words(words: Sequence[str], tokens: Tokens) -> frozenset[str]:
    """The words that are not one token after a space, so that they can't be an answer."""
    return frozenset(word for word in words if tokens.single(" " + word) is None)


def in_pieces(words: Sequence[str], tokens: Tokens) -> str:
    """The first of some words with their tokens: `Bartholomew (Bart|hol|omew) and 3 more`."""
    shown = ", ".join(f"{w} ({'|'.join(tokens.pieces(' ' + w)).strip()})" for w in words[:4])
    return shown + (f" and {len(words) - 4} more" if len(words) > 4 else "")
