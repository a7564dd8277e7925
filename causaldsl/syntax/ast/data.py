"""Prompts and pairs: what stands in their braces."""

from __future__ import annotations

from causaldsl.syntax.ast.expressions import String
from causaldsl.syntax.ast.nodes import Identifier, Node


class PromptItem(Node):
    """What stands in the braces of ``prompts``."""


class Template(PromptItem):
    role: str
    text: String


class Slot(Node):
    """Letters or slot names, and the lexicon that fills them."""

    letters: tuple[Identifier, ...]
    lexicon: Identifier


class Slots(PromptItem):
    slots: tuple[Slot, ...]


class Selected(Node):
    """``after X``: of the words that fill a slot, those behind its own."""

    word: str
    of: Identifier


Answer = Identifier | String | Selected
"""A letter or slot, a column of its lexicon (`X.capital`), a text, or words of a lexicon."""


class Answers(PromptItem):
    """An answer and a foil, or lists of them. Without a foil, it is the source's answer."""

    answer: tuple[Answer, ...]
    foil: tuple[Answer, ...] | None


class Frame(PromptItem):
    """``frame chat``: every prompt in the model's chat template."""

    word: str


class PositionDefinition(Node):
    name: Identifier
    place: str


class Positions(PromptItem):
    definitions: tuple[PositionDefinition, ...]


class PairOption(Node):
    """``train 300``; the value is a whole number or the name of one.

    ``same COLUMN`` names a column, ``answers whole`` lets answers have several tokens, and of
    ``where correct`` a run keeps the pairs that its model gets right.
    """

    name: str
    value: str


class NamedPattern(Node):
    """``x: BAB``: a source by its name."""

    name: Identifier
    pattern: Identifier


class PatternPairs(Node):
    """``prompts LEFT <-> RIGHT { ... }``, or ``SOURCE -> BASE`` for one direction, or ``BASE``.

    Of ``BASE <- {x: SOURCE, y: SOURCE}``, whose arrow is ``<-``, the first source is the right one.
    """

    prompts: Identifier
    left: Identifier
    arrow: str | None
    right: Identifier | None
    options: tuple[PairOption, ...]
    sources: tuple[NamedPattern, ...] = ()
