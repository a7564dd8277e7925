"""Filling the slots of a template with words, and where each then stands."""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.check.prompts import Lexicon, Template
from causaldsl.diagnostics import Label, Span, suggest, wrong


@dataclass(frozen=True)
class Filled:
    """A prompt's text with the character spans of every slot and letter, in order."""

    text: str
    occurrences: dict[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class Filling:
    """What fills a prompt: letters by slot, words by letter, and words of other slots."""

    letter_of: dict[str, str]
    named: dict[str, str]
    others: dict[str, str]

    @property
    def pattern(self) -> str:
        return "".join(self.letter_of.values())

    def word(self, name: str) -> str:
        """The word of a slot or a letter."""
        letter = self.letter_of.get(name, name)
        return self.named[letter] if letter in self.named else self.others[name]


def fill(template: Template, filling: Filling, lexicons: dict[str, Lexicon]) -> Filled:
    """A prompt's text."""
    text = template.pieces[0]
    occurrences: dict[str, list[tuple[int, int]]] = {}
    for written, piece in zip(template.slots, template.pieces[1:], strict=True):
        slot, _, column = written.partition(".")
        word = lexicons[slot].beside(filling.word(slot), column)
        letter = filling.letter_of.get(slot)
        for name in (written,) if letter is None or column else (slot, letter):
            occurrences.setdefault(name, []).append((len(text), len(text) + len(word)))
        text += word + piece
    return Filled(text, occurrences)


def spaced(word: str) -> str:
    """A word as it follows another one."""
    return word if word[:1].isspace() else " " + word


def check_column(slot: str, column: str, lexicon: Lexicon, span: Span) -> None:
    """A slot's column, if one is named, must be a column of its lexicon."""
    if column and column not in lexicon.columns:
        help = 'one with columns is made by table("FILE")'
        if lexicon.columns:
            help = suggest(column, lexicon.columns, "columns")
            help += "" if help.endswith("?") else f"; {{{slot}}} alone is the first one"
        raise wrong(
            "no-column",
            f"lexicon `{lexicon.name}`, which fills `{slot}`, has no column `{column}`",
            span,
            help,
            [Label(lexicon.span, "the lexicon")],
        )
