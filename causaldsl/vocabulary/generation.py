"""What a `generate` writes, and what can be reported of the texts.

A metric of texts is a number for each prompt, worked out from the new text alone: what the model
wrote behind the prompt, without the token that ends a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from causaldsl.vocabulary.base import Operand, Pure, Word
from causaldsl.vocabulary.register import register
from causaldsl.vocabulary.types import NumberType

MOST_TOKENS = 4096
TEXT = "text"
"""What stands in a report for the texts themselves."""


class GenerateWord(Word):
    """Texts that the model writes behind the bases, with interventions in force or none.

    At temperature 0 each token is the most likely one; else it is drawn from softmax(logits /
    temperature) over the ``top_k`` largest logits (0: all), of these over the fewest tokens that
    have together at least ``top_p``.
    """

    word = "generated"
    runs = "edits"
    sides = ("base",)
    tokens: int = Field(ge=1, le=MOST_TOKENS)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)
    ends: tuple[int, ...] = ()
    """The tokens that end a text, which the model's folder names."""
    stages: tuple[int, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Greedy texts hang on no seed."""
        drawn = {"top_k", "top_p", "seed"} if self.temperature == 0 else set()
        unused = drawn | (set() if self.stages else {"stages"})
        return self.model_dump(mode="json", exclude=unused)


SAMPLING = ("temperature", "top_k", "top_p", "seed")
"""What says how it draws tokens."""


class TextsWord(Pure):
    """Numbers of the texts of some arms, prompt by prompt."""

    word = "texts"
    metrics: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Names, words and lists."""


class TextNumber(Pure):
    """A number of the texts of one arm: the mean of a metric over the prompts."""

    word = "text_number"
    gives = NumberType()
    operands = (Operand("texts", "number"),)
    arm: str
    metric: str

    @property
    def estimated(self) -> bool:
        return True


class TextMetric(BaseModel):
    """A metric of texts. Its docstring is its entry in the reference; ``of`` is its list."""

    model_config = ConfigDict(frozen=True)

    word: ClassVar[str]
    unit: ClassVar[str] = ""
    rate: ClassVar[bool] = False
    """Whether it is the share of texts for which something is so."""
    listed: ClassVar[bool] = True
    """Whether it has a list of words."""
    of: tuple[str, ...] = ()

    def value(self, text: str, tokens: int, before: str = "") -> float:
        """The number of one text of so many tokens, behind a prompt that ends in ``before``."""
        raise NotImplementedError

    @classmethod
    def form(cls) -> str:
        """How it is written."""
        return f'{cls.word}(["..", ".."])' if cls.listed else cls.word


TEXT_METRICS: dict[str, type[TextMetric]] = {}


def _text_metric(cls: type[TextMetric]) -> type[TextMetric]:
    return register(TEXT_METRICS, cls.word, cls)


@_text_metric
class Length(TextMetric):
    """Tokens that were written, without the one that ends a text."""

    word = "length"
    unit = "tokens"
    listed = False

    def value(self, text: str, tokens: int, before: str = "") -> float:
        return tokens


@_text_metric
class ShareWith(TextMetric):
    """Share of texts with at least one of these words in them."""

    word = "share_with"
    unit = "share"
    rate = True

    def value(self, text: str, tokens: int, before: str = "") -> float:
        return float(occurrences(text, self.of, before) > 0)


@_text_metric
class Count(TextMetric):
    """How often any of these words stands in a text."""

    word = "count"
    unit = "words"

    def value(self, text: str, tokens: int, before: str = "") -> float:
        return occurrences(text, self.of, before)


def occurrences(text: str, words: Sequence[str], before: str = "") -> int:
    """How often words stand in a text: whole ones, whatever the case of their letters.

    Where several could stand at one place the longest does. ``before`` is what the text stands
    behind: what goes on with a word of it is no word of the text's own.

    >>> occurrences("Weddings? A wedding, THE Wedding day.", ["wedding", "wedding day"])
    2
    >>> occurrences("rant, a rant", ["rant"], before="the restau")
    1
    """
    longest_first = sorted(words, key=len, reverse=True)
    any_of = "|".join(re.escape(word.casefold()) for word in longest_first)
    whole, begin = before.casefold() + text.casefold(), len(before.casefold())
    found = re.compile(rf"(?<!\w)(?:{any_of})(?!\w)").finditer(whole, begin)
    return sum(1 for _ in found)
