"""`use "PACKAGE"`: the words of an installed package join the program's.

A package offers them by an entry point of the group ``causaldsl.words`` under the name that is
used. Its module registers words as the language's own modules do; it may name the module that
evaluates them, ``ENGINE = "my_lab_words.engine"``, which is not imported here.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points

from causaldsl.check.context import Context, checks
from causaldsl.diagnostics import Span, wrong
from causaldsl.syntax import ast
from causaldsl.vocabulary.register import PACKAGES, Vocabulary, code_digest

GROUP = "causaldsl.words"


@checks(ast.Use)
def use(context: Context, node: ast.Use) -> None:
    name, span = node.package.text, node.package.span
    program = context.program
    if name in program.packages:
        return  # by an imported file: its words are there already
    with context.scope.until_read():
        point = _entry_point(name, span)
        engine = _load(point, span)
        words = PACKAGES.get(_package(point), Vocabulary())
        _check_names(context, words, name, span)
        context.words.add(words)
    words.code = words.code or code_digest(_package(point))
    words.version = program.packages[name] = point.dist.version if point.dist else ""
    if engine is not None:
        program.engines.append(engine)


def _entry_point(name: str, span: Span) -> EntryPoint:
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        others = (
            f"installed are {', '.join(sorted(installed))}" if installed else "none is installed"
        )
        message = f"no package that is installed offers words as `{name}`"
        raise wrong("unknown-package", message, span, f"{others}; try: pip install {name}")
    return installed[name]


def _package(point: EntryPoint) -> str:
    return point.module.partition(".")[0]


def _load(point: EntryPoint, span: Span) -> str | None:
    """Import the words. Gives the module that evaluates them, if the package names one."""
    before = Vocabulary()
    before.add(PACKAGES.get(_package(point), before))
    try:
        module = importlib.import_module(point.module)
    except Exception as error:  # a module of somebody else's may raise anything
        PACKAGES[_package(point)] = before  # half of its words may be there
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"the words of `{point.name}` can't be imported: {reason}"
        raise wrong("bad-package", message, span) from error
    return getattr(module, "ENGINE", None)


def _check_names(context: Context, words: Vocabulary, name: str, span: Span) -> None:
    """No word may mean something else already; those that are there by another `use` are."""
    scope, there = context.scope, context.words
    if not words.words():
        raise wrong("no-words", f"`{name}` registers no words", span)
    for theirs, ours in zip(words.tables(), there.tables(), strict=True):
        for word, entry in theirs.items():
            if ours.get(word) is entry:
                continue
            if word in scope.reserved() or word in scope.places:
                what = "a name of this program" if word in scope.places else "a word already"
                message = f"`{name}` brings the word `{word}`, which is {what}"
                raise wrong("word-twice", message, span)
