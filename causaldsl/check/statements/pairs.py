"""`pairs`: made from patterns by the templates of a prompts block, or by a maker."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.check.apply import made
from causaldsl.check.context import Context, checks
from causaldsl.check.pairs import PairFamily, check_length
from causaldsl.check.prompts import PromptFamily
from causaldsl.check.templates import PairMaker
from causaldsl.diagnostics import located, wrong
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import PairsType


@checks(ast.Pairs)
def pairs(context: Context, node: ast.Pairs) -> PairFamily:
    if isinstance(node.value, ast.PatternPairs):
        family = _from_templates(context, node, node.value)
    else:
        family = _from_maker(context, node, node.value)
    n_ctx = context.shapes(node.span).n_ctx
    with located(node.value.span):
        for part in (family.train, family.test, family.whole):
            for pair in part.pairs if part else ():
                check_length(pair.base, n_ctx)
                check_length(pair.source, n_ctx)
    return family


def _from_templates(context: Context, node: ast.Pairs, pattern: ast.PatternPairs) -> PairFamily:
    family = context.scope.look_up(pattern.prompts.text, pattern.prompts.span)
    if not isinstance(family, PromptFamily):
        message = f"`{pattern.prompts.text}` is not a prompts block"
        raise wrong("wrong-kind", message, pattern.prompts.span)
    maker = PairMaker(family, _counted(context, pattern), context.tokens(node.span))
    return maker.family_of(node.name.text)


def _counted(context: Context, node: ast.PatternPairs) -> ast.PatternPairs:
    """The pattern with every named number written out."""
    options = []
    for option in node.options:
        if option.value.isidentifier():
            name = ast.Name(option.span, option.value)
            number = context.integer(name, f"a number of {option.name} pairs")
            option = replace(option, value=str(number))
        options.append(option)
    return replace(node, options=tuple(options))


def _from_maker(context: Context, node: ast.Pairs, call: ast.Expression) -> PairFamily:
    found: PairFamily | None = made(context, call, PairsType)
    if found is None:
        context.scope.check_words()
        raise wrong(
            "bad-pairs",
            "this does not make pairs",
            call.span,
            'write prompts ABB <-> BAB { train 300 test 150 }, jsonl("pairs.jsonl"), or for a toy '
            "model numbers(base: [1], source: [2])",
        )
    return found.called(node.name.text)
