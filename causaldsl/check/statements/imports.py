"""`import`: the definitions of another file, which may not measure, claim or draw anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from causaldsl.check.context import CHECKS, Context, checks
from causaldsl.check.limits import DEEPEST_IMPORT
from causaldsl.check.sources import read_text
from causaldsl.check.walk import check_statements
from causaldsl.diagnostics import Label, Mistake, Source, located, wrong
from causaldsl.syntax import ast


@checks(ast.ImportFile)
def import_file(context: Context, node: ast.ImportFile) -> None:
    with context.scope.until_read(), located(node.path.span):
        path = context.path(node.path.text).resolve()
    if path in context.importing:
        raise wrong("import-cycle", f"{node.path.text} imports itself", node.path.span)
    if path in context.imported:
        return  # by another way: its names are there already
    tree = _tree(context, node, path)
    for statement in tree.statements:
        if CHECKS[type(statement)].experiment:
            raise wrong(
                "import-experiment",
                f"{node.path.text} is imported, but does more than define names",
                statement.span,
                "keep measurements, claims and pictures in the program that is run",
                [Label(node.path.span, "imported here")],
            )
    context.imported.add(path)
    context.program.imports.append(tree.span.source)
    importing = (*context.importing, path)
    check_statements(replace(context, folder=path.parent, importing=importing), tree)


def _tree(context: Context, node: ast.ImportFile, path: Path) -> ast.Program:
    with context.scope.until_read(), located(node.path.span):
        _count(context)
        text = context.opened.get(path)
        text = read_text(path, node.path.text) if text is None else text
        return context.read(Source(str(context.folder / node.path.text), text))


def _count(context: Context) -> None:
    """Raise :class:`Mistake` if this is one file too many."""
    context.limits.check(
        "imports", len(context.imported) + 1, "too-many-imports", "this is imported file number {}"
    )
    if len(context.importing) > DEEPEST_IMPORT:
        message = f"more than {DEEPEST_IMPORT} files import one another in a row"
        raise Mistake("too-many-imports", message, "import what they need from one file")
