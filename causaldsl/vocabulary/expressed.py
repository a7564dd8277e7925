"""Metrics that a program defines: an expression over logits and probabilities, pair by pair.

    metric lead = logit(answer) - logit(foil)

The expression is worked out in every pair, and the metric is the mean over the pairs. So
`prob(answer) / prob(foil)` is a mean of ratios, and no ratio of means. Of several tokens, `logit`
is the mean, `prob` the sum of their probabilities and `log_prob` the logarithm of that sum.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from causaldsl.vocabulary.metrics import Metric, Seen, Tensor

Reads = Literal["logit", "prob", "log_prob"]
READS: tuple[Reads, ...] = ("logit", "prob", "log_prob")
OF_ANSWERS = {"answer": 0, "foil": 1}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_UNITS = {"logit": "logits", "prob": "probability", "log_prob": "nats"}


class Part:
    """A part of an expression: a number (n,) for each pair, or one for all of them."""

    def of(self, seen: Seen) -> Tensor | float:
        """Its value in double precision on the CPU."""
        raise NotImplementedError

    def parts(self) -> tuple[Part, ...]:
        """What it is made of."""
        return ()

    def walk(self) -> tuple[Part, ...]:
        """Itself and all below it."""
        return (self, *(inner for part in self.parts() for inner in part.walk()))


@dataclass(frozen=True)
class Constant(Part):
    value: float

    def of(self, seen: Seen) -> float:
        return self.value


@dataclass(frozen=True)
class Read(Part):
    """A logit or probability of the answers, the foils, or tokens that are named."""

    word: Reads
    of_what: Literal["answer", "foil"] | tuple[int, ...]

    def of(self, seen: Seen) -> Tensor:
        if self.word == "logit":
            return self._logit(seen)
        if isinstance(self.of_what, str):
            found = seen.answer_log_probs[:, OF_ANSWERS[self.of_what]]
        else:
            found = seen.log_probs[:, list(self.of_what)].logsumexp(1)
        return found if self.word == "log_prob" else found.exp()

    def _logit(self, seen: Seen) -> Tensor:
        if isinstance(self.of_what, tuple):
            return seen.logits[:, list(self.of_what)].cpu().double().mean(1)
        found = seen.logits.gather(1, seen.answers.to(seen.logits.device)).cpu().double()
        if seen.sides is None:
            return found[:, OF_ANSWERS[self.of_what]]
        mine = (seen.sides.cpu() == (1, -1)[OF_ANSWERS[self.of_what]]).double()
        return (found * mine).sum(1) / mine.sum(1)


@dataclass(frozen=True)
class Both(Part):
    """``+ - * /`` of two parts."""

    operator: str
    left: Part
    right: Part

    def of(self, seen: Seen) -> Tensor | float:
        return ARITHMETIC[self.operator](self.left.of(seen), self.right.of(seen))

    def parts(self) -> tuple[Part, ...]:
        return self.left, self.right


@dataclass(frozen=True)
class Size(Part):
    """``abs`` of a part."""

    inner: Part

    def of(self, seen: Seen) -> Tensor | float:
        return abs(self.inner.of(seen))

    def parts(self) -> tuple[Part, ...]:
        return (self.inner,)


class Expressed(Metric):
    """A metric that a program defines."""

    needs = "vocabulary"
    of_sets = True
    undefined = "in some pair its expression gives no finite number"

    def __init__(self, word: str, expression: Part, text: str):
        """``text`` is the expression as it is written."""
        self.expression, self.text = expression, text
        foils = any(isinstance(one, Read) and one.of_what == "foil" for one in expression.walk())
        doc = f"Mean over the pairs of `{text}`."
        # What is the same for a class of metrics is this one's own here.
        vars(self).update(word=word, doc=doc, unit=_unit(expression), of_foils=foils)

    @property
    def origin(self) -> str:
        """The expression, with its tokens."""
        return repr(self.expression)

    def of_vocabulary(self, seen: Seen) -> Tensor:
        found = self.expression.of(seen)
        return found + seen.log_probs.new_zeros(len(seen.logits))


def _unit(expression: Part) -> str:
    """The unit of all that it reads, where that is one and nothing of it is multiplied."""
    read = {_UNITS[one.word] for one in expression.walk() if isinstance(one, Read)}
    scaled = any(isinstance(one, Both) and one.operator in "*/" for one in expression.walk())
    return read.pop() if len(read) == 1 and not scaled else ""
