"""`model`: the program's one model, of which only the configuration is read."""

from __future__ import annotations

from pathlib import Path

from causaldsl.check.context import Context, checks
from causaldsl.check.kinds import describe
from causaldsl.check.params import MODEL
from causaldsl.check.texts import ParamText, locate
from causaldsl.diagnostics import Label, located, wrong
from causaldsl.model.catalog import ModelSpec, resolve
from causaldsl.syntax import ast


@checks(ast.Model)
def model(context: Context, node: ast.Model) -> ModelSpec:
    if context.scope.model is not None:
        raise wrong(
            "two-models",
            "a program has one model",
            node.span,
            "put the second experiment into a file of its own",
            [Label(context.scope.model, "the model")],
        )
    context.scope.model = node.span
    source = _source(context, node)
    with located(node.source.span):
        found = resolve(source, locate(source, context.folder), context.progress)
    context.program.model = found
    return found


def _source(context: Context, node: ast.Model) -> str:
    """The name or path of the model: as set, else the text or param that the program names."""
    chosen = context.program.settings.get(MODEL)
    if chosen is not None:
        return ParamText(chosen, Path.cwd())
    if isinstance(node.source, ast.String):
        return node.source.text
    value = context.scope.look_up(node.source.text, node.source.span)
    if not isinstance(value, str):
        raise wrong(
            "wrong-kind",
            f"`{node.source.text}` is {describe(value)}, not the name of a model",
            node.source.span,
            'write a text, such as "smollm2-135m", or a param that is one',
        )
    return value
