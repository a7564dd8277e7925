"""Words that give a direction which something reads: a token's logit, or a trained probe.

`mean_difference` (``learned.py``) is the direction between two classes; these are others that the
field takes for a feature. What each of them does is found out by patching along it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import SIDES, Operand, OperandMistake, Pure, Word
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import NumberType, SubspaceType
from causaldsl.vocabulary.widths import site_width


class TokenRow(NamedTuple):
    """A text that is one token, its id, and the width of its row of the unembedding."""

    text: str
    id: int
    width: int


@function
class Token(Pure):
    """The direction that a token's logit reads: its row of the unembedding, W_U.

    `less` is another token whose row is taken off, so that it is the direction of a logit
    difference. With `norm: folded` it is the row as the residual stream behind the last block meets
    it: times the last norm's weights, through a projection before the unembedding, and without its
    mean where that norm takes the mean off. What is left out is the norm's scale, which differs
    from prompt to prompt, the multiplier and the soft cap of logits. With `norm: none` it is the
    row itself. `token(a) - token(b)` is that of two rows of length 1, as for all directions.
    """

    word = "token"
    example = 'token(" Paris")'
    operands = (
        Operand("text", "token"),
        Operand("less", "token", keyword=True, required=False),
    )
    computed = ("text", "less")
    text: TokenRow = TokenRow("", 0, 0)
    less: TokenRow | None = None
    norm: Literal["folded", "none"] = "folded"

    def identity(self) -> dict[str, Any]:
        """Tokens by their ids and texts; the width is the model's."""
        less = {} if self.less is None else {"less": self.less.text, "less_id": self.less.id}
        return {"text": self.text.text, "id": self.text.id, **less, "norm": self.norm}

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        if self.less is not None and self.less.id == self.text.id:
            message = "a token less itself is no direction"
            raise OperandMistake("less", "zero-vector", message, "name another token")
        width: SubspaceType = types["text"]
        return SubspaceType(width.width, 1)


class OfClasses(Word):
    """What is told apart at a site: two classes of prompts, or one from all the others."""

    runs = "reads"
    sides = SIDES
    operands = (
        Operand("site", "site"),
        Operand("first", "class"),
        Operand("second", "class", required=False),
        Operand("on", "pairs", keyword=True),
    )
    held_out: float = Field(0.25, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**31)
    penalty: float = Field(1.0, gt=0)

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        count = len(set(prompts))
        if count < 4:
            message = f"{count} different prompts are too few for a probe"
            raise Mistake("too-few-prompts", message, "use more pairs")


@function
class ProbeDirection(OfClasses):
    """The direction by which logistic regression tells two classes of prompts apart at a site.

    `probe(resid, ABB, BAB, on: swap.train)`; without a second class, the first one from all other
    prompts. Inputs are standardised; `penalty` is that on the squared weights (1/C in
    scikit-learn). The direction is the normal of the plane between the classes, in the activations'
    own units, towards the first class. `held_out` is the share of the pairs that it is tested on:
    its accuracy there is in the results, and is the number `probe_accuracy`. It shows that the
    classes can be told apart along it, and not that the model does.
    """

    word = "probe"

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(site_width(types), 1)


@function
class ProbeAccuracy(OfClasses):
    """Held-out accuracy of the direction that `probe` finds with the same options.

    The share of held-out prompts (and positions) whose class it tells; by chance it is that of the
    larger class.
    """

    word = "probe_accuracy"
    quantity = "accuracy, held out"

    @property
    def estimated(self) -> bool:
        return True

    def result(self, types: Mapping[str, Any]) -> NumberType:
        site_width(types)
        return NumberType()
