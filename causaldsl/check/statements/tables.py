"""`table`: numbers over loop variables."""

from __future__ import annotations

from causaldsl.check.context import Context, checks
from causaldsl.check.doubts import warn_of_loops
from causaldsl.check.loops import loops, new_name
from causaldsl.check.tabled import Table
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Diagnostics, Span
from causaldsl.syntax import ast
from causaldsl.vocabulary.types import NumberType


@checks(ast.Table, experiment=True)
def table(context: Context, node: ast.Table) -> Table:
    """Every arm's number for every combination of the loop variables."""
    axes, combinations = loops(context, node.bindings, None, node.span, node.arms)
    warn_of_loops(context, node.bindings, node.arms)
    problems = Diagnostics()
    cells: dict[str, dict[str, Applied]] = {}
    seen: dict[str, Span] = {}
    for arm in node.arms:
        with problems.collecting():
            new_name(arm.name, seen)
            cells[arm.name.text] = {
                ".".join(labels): inner.of_type(arm.value, NumberType, "a number")
                for labels, inner in combinations
            }
    problems.raise_if_any()
    return Table(node.name.text, axes, cells, node.span)
