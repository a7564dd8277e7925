"""What expressions of a checked program stand for, before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias

from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.diagnostics import Mistake, Span, suggest, wrong
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import NumberType, Type, Word
from causaldsl.vocabulary.histograms import CLASS_STATISTICS, SEPARATIONS, HistogramNumber
from causaldsl.vocabulary.traces import TOTALS, TraceNumber


@dataclass(frozen=True)
class Point:
    """A named position with an offset, or (name None) a token index counted from 0."""

    name: str | None
    offset: int

    @classmethod
    def parse(cls, text: str) -> Point:
        if text.isdigit():
            return cls(None, int(text))
        match = re.fullmatch(r"(\w+?)([+-]\d+)?", text)
        assert match is not None
        return cls(match[1], int(match[2] or 0))

    def __str__(self) -> str:
        if self.name is None:
            return str(self.offset)
        return self.name + (f"{self.offset:+d}" if self.offset else "")

    def resolve(self, prompt: Prompt) -> int:
        """The token index in one prompt. Raises :class:`Mistake` if there is none."""
        named = prompt.named
        if self.name == "all":
            raise Mistake(
                "position-range",
                "`all` means every token, so it has no offset",
                "name a position, such as END-1",
            )
        if self.name is not None and self.name not in named:
            raise Mistake(
                "unknown-position",
                f"the prompts have no position `{self.name}`",
                suggest(self.name, named, "positions"),
            )
        index = self.offset + (named[self.name] if self.name is not None else 0)
        if not 0 <= index < prompt.length:
            raise Mistake(
                "position-range",
                f"position {self} is token {index}, outside a prompt of {prompt.length} tokens",
                f"the prompt is: {prompt.text}",
            )
        return index


@dataclass(frozen=True)
class HeadValue:
    """A head as a loop variable's value; ``text`` as written, since `0.01` may also be a number."""

    layer: int
    head: int
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.layer}.{self.head}"


@dataclass(frozen=True)
class PositionRef:
    """``@ first``, ``@ first..last`` or ``@ all``, resolved prompt by prompt."""

    first: Point
    last: Point | None = None

    def __str__(self) -> str:
        return str(self.first) + (f"..{self.last}" if self.last is not None else "")

    def resolve(self, prompt: Prompt) -> list[int]:
        """The token indices in one prompt, in order."""
        if self.last is None and self.first == Point("all", 0):
            return list(range(prompt.length))
        first = self.first.resolve(prompt)
        if self.last is None:
            return [first]
        last = self.last.resolve(prompt)
        if last < first:
            raise Mistake(
                "position-order",
                f"{self} runs backwards: tokens {first} to {last} of: {prompt.text}",
                "write the earlier position first",
            )
        return list(range(first, last + 1))


@dataclass(frozen=True)
class Place:
    """A site of the model at positions of a prompt; ``position`` None until `@` has been read."""

    site: Site
    position: PositionRef | None
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.site} @ {self.position}" if self.position else str(self.site)


@dataclass(frozen=True)
class Applied:
    """A word applied to operands: what becomes one operation of the graph."""

    word: Word
    operands: tuple[tuple[str, Operand], ...]
    type: Type
    span: Span = field(compare=False, repr=False)

    def operand(self, name: str) -> Operand | None:
        return dict(self.operands).get(name)

    def walk(self) -> Iterator[Applied]:
        yield self
        for _, value in self.operands:
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Applied):
                    yield from part.walk()


@dataclass(frozen=True)
class ClassName:
    """A class of prompts: a pattern such as ABB, or `base` or `source`."""

    text: str


def label_of(value: Any) -> str:
    """A loop variable's value as it names a cell."""
    if isinstance(value, Applied) and isinstance(value.type, NumberType):
        constant = value.type.constant
        return f"{constant:g}" if constant is not None else "?"
    return str(value)


class Named:
    """A value whose parts have names of their own; ``kind`` is what messages call it."""

    kind: ClassVar[str]

    def part(self, node: ast.Attribute) -> Any:
        """What stands behind the dot."""
        raise wrong("no-part", f"{self.kind} has no part `{node.name.text}`", node.name.span)

    def cell(self, node: ast.Index, wanted: str) -> Any:
        """What stands in brackets, given as it names a cell."""
        raise wrong("no-index", f"{self.kind} can't be indexed", node.at.span)


@dataclass(frozen=True)
class HistogramArm:
    """Activations of a site along a direction, in the run with these interventions, if any."""

    name: str
    place: Place
    along: Applied
    interventions: tuple[Applied, ...]
    label: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Histogram(Named):
    """Projections by class; ``classes`` are named as the records name them."""

    kind = "a histogram"
    name: str
    sets: tuple[PairSet, ...]
    arms: tuple[HistogramArm, ...]
    by: Literal["pattern", "side", "set"]
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


@dataclass(frozen=True)
class HistogramPart(Named):
    """An arm of a histogram, or one class of it: what a statistic's name can follow."""

    kind = "an arm of a histogram"
    histogram: Histogram
    arm: str
    cls: str | None = None

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
        message = f"this arm of `{self.histogram.name}` has no `{name}`"
        if self.cls is None and name in SEPARATIONS:
            message = f"`{name}` compares two classes; `{self.histogram.name}` has {len(classes)}"
        elif self.cls is None and name in CLASS_STATISTICS:
            message = f"`{name}` is that of one class, such as `{self.arm}.{classes[0]}.{name}`"
        raise wrong("no-part", message, node.name.span, suggest(name, offered, "parts"))


@dataclass(frozen=True)
class CheckedPath:
    """A path: its sender's interventions, then the receivers of every stage up to the logits."""

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


@dataclass(frozen=True)
class CheckedTrace(Named):
    """A trace: interventions on pairs, and the components at positions that may carry the effect.

    ``heads`` are (layer, head), ``mlps`` layers; ``text`` is what is traced, as written.
    """

    kind = "a trace"
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
class TracedKind(Named):
    """`trace.heads` or `trace.mlps`, before one of them is named."""

    kind = "the components of a trace"
    trace: CheckedTrace
    word: str


Operand: TypeAlias = (
    "Applied | Place | PairSet | ClassName | Histogram | CheckedTrace | CheckedAudit | str"
    " | tuple[Applied, ...]"
)


@dataclass(frozen=True)
class Run:
    """One arm: a name, its interventions, and where it stands on the axes of a sweep."""

    name: str
    interventions: tuple[Applied | CheckedPath, ...]
    label: str
    coordinates: tuple[str, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Axis:
    """One loop variable of a sweep: its values' names in a cell, and as a plot shows them."""

    name: str
    labels: tuple[str, ...]
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """A `measure` or, with axes, a `sweep`: runs on pairs, and the metrics to report."""

    name: str
    pairs: PairSet
    runs: tuple[Run, ...]
    metrics: tuple[str, ...]
    axes: tuple[Axis, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class CheckedAudit(Named):
    """An `audit`: what is audited, where, on which pairs, and the runs that its evidence needs.

    ``parts`` are subspaces and matrices that the evidence speaks of, by their role.
    """

    kind = "an audit"
    name: str
    word: Word
    of: Applied
    against: Applied | None
    place: Place
    pairs: PairSet
    parts: tuple[tuple[str, Applied], ...]
    runs: tuple[Run, ...]
    text: str
    span: Span = field(compare=False, repr=False)
