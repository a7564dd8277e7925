"""What the parts of the page are made from: a run, and the program's text as statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from causaldsl.check.checked import CheckedProgram, Output
from causaldsl.diagnostics import Source, Span
from causaldsl.graph.graph import Graph
from causaldsl.results.records import Results
from causaldsl.syntax import ast
from causaldsl.syntax.parse import parse


@dataclass
class View:
    """One run.

    ``folder`` holds its pictures, which are written before the page; ``drawn`` an SVG of each that
    is in another format there.
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

    def anchor(self, span: Span) -> str:
        """The id of the line where a span begins."""
        line, _ = span.source.line_column(span.start)
        return f"{self.prefix(span.source)}-{line}"

    def prefix(self, source: Source) -> str:
        """What the ids of a source's lines begin with: `L`, or `I1-L` for an imported file."""
        index = next((i for i, known in enumerate(self.sources) if known == source), 0)
        return f"I{index}-L" if index else "L"

    def pictures(self) -> list[Output]:
        """The pictures that the program asked for and that are there."""
        found = self.program.outputs
        return [o for o in found if (self.folder / f"{o.stem}{o.suffix}").is_file()]

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
