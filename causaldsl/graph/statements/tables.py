"""`table`: the number of every cell."""

from __future__ import annotations

from causaldsl.check.tabled import Table
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import TableWord, inputs_of


@compiles(Table)
def table(compiler: Compiler, table: Table) -> Made:
    cells = {
        f"{arm}[{labels}]": compiler.applied(applied)
        for arm, cells in table.cells.items()
        for labels, applied in cells.items()
    }
    for role, key in cells.items():
        compiler.graph.called.setdefault(key, f"{table.name}.{role}")
    return Made("table", compiler.add(TableWord(), inputs_of(cells), table.span), cells)
