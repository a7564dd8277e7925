"""`param`: constants of a program that `--set NAME=VALUE` gives another value."""

from __future__ import annotations

import math
from pathlib import Path

from causaldsl.check.context import Context, checks
from causaldsl.check.kinds import describe
from causaldsl.check.params import ParamText
from causaldsl.check.values import Applied, constant
from causaldsl.diagnostics import wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import NumberType


@checks(ast.Param)
def param(context: Context, node: ast.Param) -> Applied | ParamText:
    """What a param stands for: as set, else as written. Both must be of one kind."""
    name, program = node.name.text, context.program
    written = context.value(node.value)
    given = program.settings.get(name)
    if isinstance(written, str):
        folder = context.folder if given is None else Path.cwd()
        text = ParamText(written if given is None else given, folder, given is not None)
        program.params[name] = str(text)
        return text
    number = written.number if isinstance(written, Applied) else None
    if number is None:
        is_number = isinstance(written, Applied) and isinstance(written.type, NumberType)
        unknown = " that is not known before the run" if is_number else ""
        raise wrong(
            "bad-param",
            f"`{show(node.value)}` is {describe(written)}{unknown}",
            node.value.span,
            'a param is a number or a text, such as 20 or "pairs.jsonl"',
        )
    if given is not None:
        number = _number(given)
        if number is None:
            raise wrong(
                "bad-setting",
                f"`--set {name}={given}` is not a number, but the param is one",
                node.span,
                f"give a number, such as --set {name}={show(node.value)}",
            )
    program.params[name] = number
    return constant(number, node.value.span)


def _number(text: str) -> float | None:
    """As the language writes numbers: Python would also read digits of other scripts and 1_000."""
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
