"""`model`: the program's one model, of which only the configuration is read."""

from __future__ import annotations

from pathlib import Path

from causaldsl.check.context import Context, checks
from causaldsl.check.kinds import describe
from causaldsl.check.params import MODEL, ParamText, locate
from causaldsl.diagnostics import Label, located, suggest, wrong
from causaldsl.model.catalog import Kind, ModelSpec, kind_of, resolve
from causaldsl.model.dtypes import DTYPES
from causaldsl.shown import is_plain
from causaldsl.syntax import ast

_KINDS: dict[Kind, str] = {
    "catalog": "a model of the catalog",
    "toy": "a toy model",
    "folder": "a local folder",
    "gguf": "a GGUF file",
}
_LONGEST, _LONGEST_PART = 2000, 255
"""Bytes of a model's name or path, and of a part of it: no file has a longer name."""
MODEL_OPTIONS = ("bos", "revision", "dtype")
_YES_NO = {"yes": True, "no": False}


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
    options = _options(node)
    source = _source(context, node)
    part = max(len(part.encode()) for part in source.split("/"))
    if not is_plain(source) or len(source.encode()) > _LONGEST or part > _LONGEST_PART:
        message = f"`{source}` is not the name of a model"
        raise wrong("model-absent", message, node.source.span, "`causaldsl models` lists some")
    folder = locate(source, context.folder)
    if "revision" in options and MODEL not in context.program.settings:
        source = _at_revision(source, options["revision"], folder)
    with located(node.source.span):
        found = resolve(source, folder, context.progress)
    bos, dtype = options.get("bos"), options.get("dtype")
    for option in (bos, dtype):
        if option is not None and not found.shapes.text:
            what = "reads numbers, so it has no BOS" if option is bos else "is always in float64"
            message = f"{found.name} is a toy model: it {what}"
            raise wrong("toy-option", message, option.span, f"leave out `{option.name.text}`")
    found = found.model_copy(
        update={
            "bos": None if bos is None else _YES_NO[_chosen(bos, tuple(_YES_NO))],
            "dtype": None if dtype is None else _chosen(dtype, DTYPES),
        }
    )
    context.program.model = found
    if bos is not None:
        context.tokens(bos.span)  # it may have no BOS
    return found


def _options(node: ast.Model) -> dict[str, ast.ModelOption]:
    """The options by name, each given once."""
    options: dict[str, ast.ModelOption] = {}
    for option in node.options.items if node.options else ():
        name = option.name.text
        if name not in MODEL_OPTIONS:
            message = f"a model has no option `{name}`"
            help = suggest(name, MODEL_OPTIONS, "options")
            raise wrong("unknown-option", message, option.name.span, help)
        if name in options:
            raise wrong("option-twice", f"`{name}` is given twice", option.span)
        options[name] = option
    return options


def _chosen(option: ast.ModelOption, choices: tuple[str, ...]) -> str:
    """The option's value, one of these words."""
    text = option.value.text
    if isinstance(option.value, ast.String) or text not in choices:
        raise wrong(
            "bad-option",
            f"`{option.name.text}` can't be {option.value.span.text}",
            option.value.span,
            f"write one of {', '.join(choices)}",
        )
    return text


def _at_revision(source: str, option: ast.ModelOption, folder: Path) -> str:
    """The name of a hub model with its revision."""
    value = option.value
    if not isinstance(value, ast.String) or not value.text:
        message = f"a revision is a text, not `{value.text}`"
        raise wrong("bad-option", message, value.span, f'write revision "{value.text or "main"}"')
    kind = kind_of(source, folder)
    if kind != "hub":
        message = f"{source} is {_KINDS[kind]}, which has no revisions"
        raise wrong(
            "no-revision", message, option.span, "leave it out; models of the hub have some"
        )
    if "@" in source:
        message = f"{source} names a revision already"
        raise wrong("two-revisions", message, option.span, "leave out one of the two")
    return f"{source}@{value.text}"


def _source(context: Context, node: ast.Model) -> str:
    """The name or path of the model: as set, else the text or param that the program names."""
    chosen = context.program.settings.get(MODEL)
    if chosen is not None:
        return ParamText(chosen, Path.cwd(), given=True)
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
