"""What a `table` stands for, and the names of its numbers: `table.arm[20, 0]`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from causaldsl.check.kinds import Value
from causaldsl.check.measurements import Axis
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show


@dataclass(frozen=True)
class Table(Value):
    """Numbers over loop variables: ``cells`` by arm, and by the values' names joined with dots."""

    kind = "a table"
    compiled = True
    way_out = "write one of its numbers: {}.ARM[...], or max({}.ARM)"
    has_cells = True
    can_plot = True
    name: str
    axes: tuple[Axis, ...]
    cells: Mapping[str, Mapping[str, Applied]]
    span: Span = field(compare=False, repr=False)

    @property
    def loop_variables(self) -> Mapping[str, int]:
        return {axis.name: len(axis.labels) for axis in self.axes}

    def part(self, node: ast.Attribute) -> TableArm:
        if node.name.text in self.cells:
            return TableArm(self, node.name.text)
        raise wrong(
            "no-arm",
            f"table `{self.name}` has no arm `{node.name.text}`",
            node.name.span,
            suggest(node.name.text, self.cells, "arms"),
        )

    def cell(self, node: ast.Index, wanted: str) -> Applied:
        arms = list(self.cells)
        if len(arms) > 1:
            raise wrong(
                "which-arm",
                f"table `{self.name}` has several arms",
                node.span,
                f"write {self.name}.{arms[0]}[{wanted}]",
            )
        return TableArm(self, arms[0]).cell(node, wanted)


@dataclass(frozen=True)
class TableArm(Value):
    """One arm of a table: all its cells, for max, min and mean, or one in brackets."""

    kind = "an arm of a table"
    way_out = "write one of its numbers, {}[...], or max({})"
    has_cells = True
    table: Table
    arm: str

    @property
    def values(self) -> tuple[Applied, ...]:
        return tuple(self.table.cells[self.arm].values())

    def cell(self, node: ast.Index, wanted: str) -> Applied:
        cells = self.table.cells[self.arm]
        spaced = {name.replace(" ", ""): cell for name, cell in cells.items()}
        if wanted in spaced:
            return spaced[wanted]
        labels = itertools.product(*(axis.labels for axis in self.table.axes))
        raise wrong(
            "no-cell",
            f"table `{self.table.name}` has no cell [{show(node.at)}]",
            node.at.span,
            suggest(show(node.at), [", ".join(each) for each in labels], "cells"),
        )
