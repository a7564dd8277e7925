"""A run as its report sees it: what it found, and the program's text as statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from causaldsl.check.checked import CheckedProgram, Claim
from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import Source, Span
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation
from causaldsl.results.records import Expectation, Results
from causaldsl.syntax import ast
from causaldsl.syntax.parse import parse


@dataclass
class View:
    """One run.

    ``folder`` holds its pictures, which are written before the page; ``drawn`` holds as SVG those
    that the folder has in another format, or not at all.
    """

    program: CheckedProgram
    graph: Graph
    results: Results
    folder: Path
    drawn: Path | None = None
    placed: set[str] = field(default_factory=set)
    """Names of the pictures that stand in the page already."""

    @cached_property
    def tree(self) -> ast.Program:
        return parse(self.program.source)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The program's own text first, then the files that it imports."""
        return (self.program.source, *self.program.imports)

    @property
    def model(self) -> str:
        """The model's name as the program has it."""
        return self.program.model.name if self.program.model else ""

    @property
    def claims(self) -> list[tuple[Claim, Expectation]]:
        """The program's claims in its order, each with what was found."""
        return list(zip(self.program.claims, self.results.expectations, strict=True))

    @property
    def pairs(self) -> list[PairSet]:
        """The sets of pairs and of texts that the run used."""
        return self.graph.pair_sets

    @cached_property
    def operations(self) -> list[Operation]:
        """What the run did, inputs before their users."""
        return [self.graph.operation(key) for key in self.graph.order()]

    def anchor(self, span: Span) -> str:
        """The id of the line where a span begins."""
        line, _ = span.source.line_column(span.start)
        return f"{self.prefix(span.source)}-{line}"

    def prefix(self, source: Source) -> str:
        """What the ids of a source's lines begin with: `L`, or `I1-L` for an imported file."""
        index = next((i for i, known in enumerate(self.sources) if known == source), 0)
        return f"I{index}-L" if index else "L"

    def drawing(self, stem: str) -> str | None:
        """A picture as SVG text, if there is one."""
        for folder in (self.folder, self.drawn):
            if folder is not None and (folder / f"{stem}.svg").is_file():
                return (folder / f"{stem}.svg").read_text(encoding="utf-8")
        return None

    @cached_property
    def comment_lines(self) -> dict[int, str]:
        """The comments that have a line of their own, by line, without their `#`."""
        source = self.program.source
        found = {}
        for comment in self.tree.comments:
            line, _ = source.line_column(comment.span.start)
            if source.line(line).lstrip().startswith("#"):
                found[line] = comment.text.lstrip("#").strip()
        return found

    def comment_above(self, line: int) -> tuple[int, str] | None:
        """The comment that ends just above a line: where it begins, and its text as one piece."""
        first = line
        while first - 1 in self.comment_lines:
            first -= 1
        if first == line:
            return None
        return first, " ".join(self.comment_lines[n] for n in range(first, line)).strip()

    @cached_property
    def opening(self) -> str:
        """The comment that the program opens with: what it asks."""
        lines = []
        number = 1
        while number in self.comment_lines:
            lines.append(self.comment_lines[number])
            number += 1
        return " ".join(lines)


def made_by(statement: ast.Statement) -> str | None:
    """The name that a statement gives to what it makes."""
    if isinstance(statement, ast.Plot | ast.Render):  # the name is that of what they draw
        return None
    identifier = getattr(statement, "name", None)
    return identifier.text if isinstance(identifier, ast.Identifier | ast.Name) else None
