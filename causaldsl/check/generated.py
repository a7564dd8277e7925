"""What a `generate` stands for, and the names of its numbers: `texts.steered.length`."""

from __future__ import annotations

from dataclasses import dataclass, field

from causaldsl.check.kinds import Value
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.vocabulary.generation import GenerateWord, TextMetric, TextNumber
from causaldsl.vocabulary.types import NumberType


@dataclass(frozen=True)
class Generation(Value):
    """Texts that the model writes behind prompts, by arm, and what is reported of them.

    ``how`` says how it writes, ``metrics`` are the numbers by their names; without ``shows`` the
    texts themselves are not reported.
    """

    kind = "generated texts"
    compiled = True
    way_out = "write one of its numbers, {}.ARM.METRIC"
    name: str
    pairs: PairSet
    runs: tuple[Run, ...]
    how: GenerateWord
    metrics: tuple[tuple[str, TextMetric], ...]
    shows: bool
    span: Span = field(compare=False, repr=False)

    def part(self, node: ast.Attribute) -> TextsOfArm:
        runs = {run.name: run for run in self.runs}
        if node.name.text in runs:
            return TextsOfArm(self, node.name.text)
        message = f"`{self.name}` has no arm `{node.name.text}`"
        raise wrong("no-arm", message, node.name.span, suggest(node.name.text, runs, "arms"))


@dataclass(frozen=True)
class TextsOfArm(Value):
    """`texts.arm`: what a metric's name can follow."""

    kind = "an arm of generated texts"
    way_out = "write one of its numbers, {}.METRIC"
    generation: Generation
    arm: str

    def part(self, node: ast.Attribute) -> Applied:
        name, known = node.name, [name for name, _ in self.generation.metrics]
        if name.text not in known:
            reports = f"it reports {', '.join(known)}" if known else "it reports no number"
            raise wrong(
                "no-metric",
                f"`{self.generation.name}` does not report `{name.text}`",
                name.span,
                f"add it to its report line; {reports}",
            )
        word = TextNumber(arm=self.arm, metric=name.text)
        return Applied(word, (("texts", self.generation),), NumberType(), name.span)
