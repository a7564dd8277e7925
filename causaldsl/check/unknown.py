"""What only a run finds out: which expressions hang on it, and what is said of errors by it.

Until then other members stand for those that a run chooses. What is asked of a set is not decided
by these: whether something is in it, or twice. Of an error it is said that they stood there, if
it is another one, or none, when others stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from causaldsl.check.context import Context
from causaldsl.diagnostics import Diagnostic, ProgramError
from causaldsl.syntax import ast

_SHOWN = 3


def unknown(context: Context, *nodes: ast.Node) -> bool:
    """Whether what some expressions stand for hangs on members that a run is still to choose."""
    return any(_unknown(context, part) for node in nodes for part in node.walk())


def _unknown(context: Context, part: ast.Node) -> bool:
    if isinstance(part, ast.Call):
        name = part.function.text if isinstance(part.function, ast.Name) else ""
        return name == "top" and bool(context.program.undecided)
    if not isinstance(part, ast.Name):
        return False
    if part.text in context.loop:
        return part.text in context.unknown
    taken = context.scope.choices.get(part.text, {})
    return bool(taken.keys() - context.program.chosen.keys())


def note_of_unknown(context: Context, mistakes: Iterable[Diagnostic]) -> None:
    """Keep for some errors of the statement at hand what stood for members that a run chooses."""
    program = context.program
    choices = [choice for choice in context.scope.touched if choice not in program.chosen]
    stood = " and ".join(
        f"{{{_shortened(choice.stand_ins(program.early))}}} in place of {choice}"
        for choice in choices
    )
    if stood:
        said = f"`check` took {stood}, which a run finds out"
        for one in mistakes:
            program.assumed[one] = said


def _shortened(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def with_notes(
    mistakes: Iterable[Diagnostic], assumed: Mapping[Diagnostic, str], others: ProgramError
) -> list[Diagnostic]:
    """Mistakes, with what stood for chosen members where ``others``, found with other members
    there, have not the same."""
    same = {_words(one) for one in others.diagnostics}
    return [
        replace(one, help=f"{one.help}; {assumed[one]}" if one.help else assumed[one])
        if one in assumed and _words(one) not in same
        else one
        for one in mistakes
    ]


def _words(one: Diagnostic) -> tuple[str | None, ...]:
    """Equal for the same mistake, though the text be read as another source."""
    return one.code, one.message, one.help, one.span.text
