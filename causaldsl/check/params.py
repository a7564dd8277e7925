"""`param`: constants of a program that `--set NAME=VALUE` gives another value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from causaldsl.check.expressions import Expressions, constant
from causaldsl.check.kinds import describe
from causaldsl.check.scope import Scope
from causaldsl.check.texts import ParamText, locate
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Mistake, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import NumberType

__all__ = ["Params", "locate", "model_source"]

MODEL = "model"
"""What `--set` calls the model, whatever the program calls it."""


class Params:
    """The settings of a run, and the ``values`` of the params that have been defined."""

    def __init__(self, settings: Mapping[str, str]):
        self._settings = settings
        self.values: dict[str, float | str] = {}

    def model(self) -> ParamText | None:
        """The model that the command line asks for."""
        text = self._settings.get(MODEL)
        return None if text is None else ParamText(text, Path.cwd())

    def value(self, expressions: Expressions, node: ast.Param, folder: Path) -> Applied | ParamText:
        """What a param stands for: as set, else as written. Both must be of one kind."""
        name = node.name.text
        if name == MODEL:
            raise wrong(
                "reserved-name",
                "`--set model=...` chooses the model, so no param can be called `model`",
                node.name.span,
                "choose another name",
            )
        written = expressions.value(node.value)
        given = self._settings.get(name)
        if isinstance(written, str):
            text = ParamText(written, folder) if given is None else ParamText(given, Path.cwd())
            self.values[name] = str(text)
            return text
        number = written.type.constant if _is_number(written) else None
        if number is None:
            raise wrong(
                "bad-param",
                f"`{show(node.value)}` is {describe(written)} that is not known before the run"
                if _is_number(written)
                else f"`{show(node.value)}` is {describe(written)}",
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
        self.values[name] = number
        return constant(number, node.value.span)

    def check_all_used(self) -> None:
        """Raise a :class:`Mistake` for a setting that no param of the program takes."""
        for name in self._settings:
            if name != MODEL and name not in self.values:
                raise Mistake(
                    "unknown-param",
                    f"the program has no param `{name}`",
                    suggest(name, [*self.values, MODEL], "params"),
                )


def model_source(params: Params, scope: Scope, node: ast.Model) -> str:
    """The name or path of the model: as set, else the text or param that the program names."""
    chosen = params.model()
    if chosen is not None:
        return chosen
    if isinstance(node.source, ast.String):
        return node.source.text
    value = scope.look_up(node.source.text, node.source.span)
    if not isinstance(value, str):
        raise wrong(
            "wrong-kind",
            f"`{node.source.text}` is {describe(value)}, not the name of a model",
            node.source.span,
            'write a text, such as "smollm2-135m", or a param that is one',
        )
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, Applied) and isinstance(value.type, NumberType)


def _number(text: str) -> float | None:
    """As the language writes numbers: Python would also read digits of other scripts and 1_000."""
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
