"""`allow NAME`: warnings that the author has thought of."""

from __future__ import annotations

from causaldsl.check.context import Context, checks
from causaldsl.diagnostics import Diagnostic, ProgramError, suggest
from causaldsl.syntax import ast
from causaldsl.vocabulary.warnings import WARNINGS


@checks(ast.Allow)
def allow(context: Context, node: ast.Allow) -> None:
    """In the program itself, for all of it; in an imported file, for what is written there."""
    unknown = [name for name in node.names if name.text not in WARNINGS]
    if unknown:
        raise ProgramError(
            [
                Diagnostic(
                    "unknown-warning",
                    f"there is no warning `{name.text}`",
                    name.span,
                    suggest(name.text, WARNINGS, "warnings"),
                )
                for name in unknown
            ]
        )
    where = None if len(context.importing) == 1 else node.span.source
    context.program.allowed += [(name.text, where) for name in node.names]
