"""What expressions of a checked program stand for, before any weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, TypeAlias

from causaldsl.check.kinds import Value
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.histograms import CLASS_STATISTICS, SEPARATIONS, HistogramNumber
from causaldsl.vocabulary.numbers import Constant
from causaldsl.vocabulary.traces import TOTALS, TraceNumber
from causaldsl.vocabulary.types import NumberType, SubspaceType, Type


@dataclass(frozen=True, eq=False)
class Applied(Value):
    """A word applied to operands: what becomes one operation of the graph.

    A named subspace or number that is used twice is one object, so a program whose values are
    built from one another by doubling is no larger than its text. What is asked of all that a value
    is made from is therefore worked out as it is made, from its operands' answers.
    """

    word: Word
    operands: tuple[tuple[str, Operand], ...]
    type: Type
    span: Span = field(repr=False)
    home: Place | None = field(init=False, repr=False)
    """The site at which a subspace was made, or which all that it is made from share."""
    learned_from: tuple[Applied, ...] = field(init=False, repr=False)
    """It and all that it is made from, as far as these take pairs."""

    def __post_init__(self) -> None:
        values = [part for _, v in self.operands for part in (v if isinstance(v, tuple) else (v,))]
        parts = [part for part in values if isinstance(part, Applied)]
        object.__setattr__(self, "home", self._home(parts))
        below = [part.learned_from for part in parts if part.learned_from]
        if any(isinstance(value, PairSet) for value in values):
            below.insert(0, (self,))
        # Most often all parts have the same, or only one has any: then nothing is copied.
        alike = all(other is below[0] for other in below[1:])
        found = (below[0] if below else ()) if alike else tuple(dict.fromkeys(chain(*below)))
        object.__setattr__(self, "learned_from", found)

    def _home(self, parts: list[Applied]) -> Place | None:
        own = self.operand("site")
        if isinstance(own, Place):
            return own
        if not self.word.same_space:
            return None
        homes = {part.home for part in parts if isinstance(part.type, SubspaceType)}
        return homes.pop() if len(homes) == 1 else None

    @property
    def kind(self) -> str:
        return str(self.type)

    def operand(self, name: str) -> Operand | None:
        return dict(self.operands).get(name)

    def alike(self, other: Applied) -> bool:
        """Whether both are one number: the same word applied to the very same operands."""
        return self is other or (self.word, self.operands) == (other.word, other.operands)

    def walk(self) -> Iterator[Applied]:
        """It and all that it is made from, each once, before what it is made from."""
        seen: dict[Applied, None] = {}
        waiting = [self]
        while waiting:
            found = waiting.pop()
            if found not in seen:
                seen[found] = None
                values = (v if isinstance(v, tuple) else (v,) for _, v in reversed(found.operands))
                waiting += [part for part in chain(*values) if isinstance(part, Applied)]
        yield from seen

    @property
    def number(self) -> float | None:
        """The number that it is, where that is known before the run."""
        return self.type.constant if isinstance(self.type, NumberType) else None


def constant(value: float, span: Span) -> Applied:
    """A number that is known before the run."""
    return Applied(Constant(value=value), (), NumberType(value), span)


class MlpNumber(Applied):
    """One of `mlps`: the number of its layer, and the MLP itself where a set or a site is meant."""

    @classmethod
    def of(cls, layer: int, span: Span) -> MlpNumber:
        return cls(Constant(value=layer), (), NumberType(layer), span)


@dataclass(frozen=True)
class ClassName:
    """A class of prompts by its label, such as ABB, or `base` or `source`."""

    text: str


def label_of(value: Any) -> str:
    """A loop variable's value as it names a cell: `20`, `23.5` for a head, `mlp_out[3]`."""
    if isinstance(value, Applied) and isinstance(value.type, NumberType):
        return "?" if value.number is None else f"{value.number:g}"
    if isinstance(value, Place) and value.as_head is not None:
        return f"{value.site.layer}.{value.site.head}"
    return str(value)


@dataclass(frozen=True)
class HistogramArm:
    """Activations of a site along a direction, in the run with these interventions, if any."""

    name: str
    place: Place
    along: Applied
    interventions: tuple[Applied, ...]
    label: str
    span: Span = field(compare=False, repr=False)
    stages: tuple[int, ...] = ()


@dataclass(frozen=True)
class Histogram(Value):
    """Projections by class; ``classes`` are named as the records name them."""

    kind = "a histogram"
    compiled = True
    way_out = "write one of its numbers, such as {}.ARM.auc"
    can_plot = True
    name: str
    sets: tuple[PairSet, ...]
    arms: tuple[HistogramArm, ...]
    by: Literal["class", "side", "set"]
    classes: tuple[str, ...]
    span: Span = field(compare=False, repr=False)

    def part(self, node: ast.Attribute) -> HistogramPart:
        arms = {arm.name for arm in self.arms}
        if node.name.text in arms:
            return HistogramPart(self, node.name.text)
        raise wrong(
            "no-arm",
            f"histogram `{self.name}` has no arm `{node.name.text}`",
            node.name.span,
            suggest(node.name.text, arms, "arms"),
        )

    def check_divisor(self, span: Span, metric: str | None = None) -> None:
        raise wrong("no-part", "a histogram counts; it is not relative to a number", span)


@dataclass(frozen=True)
class HistogramPart(Value):
    """An arm of a histogram, or one class of it: what a statistic's name can follow."""

    kind = "an arm of a histogram"
    histogram: Histogram
    arm: str
    cls: str | None = None

    @property
    def has_cells(self) -> bool:
        return self.cls is None

    def cell(self, node: ast.Index, wanted: str) -> HistogramPart:
        """A class whose label is no name: `spread.clean["two words"].mean`."""
        name, classes = getattr(node.at, "text", wanted), self.histogram.classes
        if name not in classes:
            message = f"this arm of `{self.histogram.name}` has no class `{name}`"
            raise wrong("no-part", message, node.at.span, suggest(name, classes, "classes"))
        return replace(self, cls=name)

    def part(self, node: ast.Attribute) -> HistogramPart | Applied:
        name, classes = node.name.text, self.histogram.classes
        if self.cls is None and name in classes:
            return replace(self, cls=name)
        cls = self.cls or (classes[0] if len(classes) == 1 else None)
        offered = [*CLASS_STATISTICS] if cls else []
        if self.cls is None:
            offered += [*classes, *(SEPARATIONS if len(classes) == 2 else ())]
        if name in offered:
            word = HistogramNumber(arm=self.arm, statistic=name, cls=cls or "")
            return Applied(word, (("histogram", self.histogram),), NumberType(), node.name.span)
        first = f".{classes[0]}" if classes[0].isidentifier() else f"[{json.dumps(classes[0])}]"
        message = f"this arm of `{self.histogram.name}` has no `{name}`"
        if self.cls is None and name in SEPARATIONS:
            message = f"`{name}` compares two classes; `{self.histogram.name}` has {len(classes)}"
        elif self.cls is None and name in CLASS_STATISTICS:
            message = f"`{name}` is that of one class, such as `{self.arm}{first}.{name}`"
        raise wrong("no-part", message, node.name.span, suggest(name, offered, "parts"))


@dataclass(frozen=True)
class CheckedPath(Value):
    """A path: its sender's interventions, then the receivers of every stage up to the logits."""

    kind = "a path"
    sender: tuple[Applied, ...]
    hops: tuple[tuple[Place, ...], ...]
    freeze: str
    layernorm: str
    text: str
    """The path with its policy, as written."""
    span: Span = field(compare=False, repr=False)

    @property
    def policy(self) -> dict[str, str]:
        """What is held while its changes spread, by the words of a policy."""
        return {"freeze": self.freeze, "layernorm": self.layernorm}

    @property
    def direct(self) -> bool:
        """Whether it goes straight from its sender to the logits."""
        return not self.hops

    @property
    def changes(self) -> tuple[Applied, ...]:
        """All interventions that it makes, or takes values of."""
        return self.sender

    @property
    def further(self) -> str:
        """What else, beside these and its hops, says what it does."""
        return ""


@dataclass(frozen=True)
class CheckedTrace(Value):
    """A trace: interventions on pairs, and the components at positions that may carry the effect.

    ``heads`` are (layer, head), ``mlps`` layers; ``text`` is what is traced, as written.
    """

    kind = "a trace"
    compiled = True
    way_out = "write one of its numbers: {}.total, {}.explained, {}.heads[20.0]"
    can_render = True
    name: str
    pairs: PairSet
    interventions: tuple[Applied, ...]
    metric: str
    heads: tuple[tuple[int, int], ...]
    mlps: tuple[int, ...]
    top: int
    positions: tuple[str, ...]
    text: str
    span: Span = field(compare=False, repr=False)

    @property
    def components(self) -> tuple[str, ...]:
        """Their names, as in the numbers of the trace: `head 23.5`, `mlp 21`."""
        heads = [f"head {layer}.{head}" for layer, head in self.heads]
        return (*heads, *(f"mlp {layer}" for layer in self.mlps))

    def part(self, node: ast.Attribute) -> Applied | TracedKind:
        """`trace.total` and the like, or `trace.heads` and `trace.mlps`."""
        name = node.name.text
        if name in ("heads", "mlps"):
            return TracedKind(self, name)
        if name in TOTALS:
            word = TraceNumber(name=name)
            return Applied(word, (("trace", self),), NumberType(), node.name.span)
        raise wrong(
            "no-part",
            f"trace `{self.name}` has no number `{name}`",
            node.name.span,
            suggest(name, [*TOTALS, "heads", "mlps"], "numbers"),
        )


@dataclass(frozen=True)
class TracedKind(Value):
    """`trace.heads` or `trace.mlps`, before one of them is named."""

    kind = "the components of a trace"
    way_out = "name one: {}[...]"
    has_cells = True
    trace: CheckedTrace
    word: str

    def cell(self, node: ast.Index, wanted: str) -> Applied:
        """The share of the effect that one component mediates."""
        name = f"{self.word[:-1]} {wanted}"
        known = self.trace.components
        if name not in known:
            mine = [c.partition(" ")[2] for c in known if c.startswith(self.word[:-1])]
            raise wrong(
                "no-component",
                f"trace `{self.trace.name}` does not go through {self.word}[{wanted}]",
                node.at.span,
                suggest(wanted, mine, self.word),
            )
        word = TraceNumber(name=name)
        return Applied(word, (("trace", self.trace),), NumberType(), node.span)


Operand: TypeAlias = (
    "Applied | Place | PairSet | ClassName | Histogram | CheckedTrace | Value | str"
    " | tuple[Applied, ...]"
)
