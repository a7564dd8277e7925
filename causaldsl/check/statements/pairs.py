"""`pairs`: made from patterns by the templates of a prompts block, or by a maker."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.check.apply import made
from causaldsl.check.cautions import warn_of_answers, warn_of_texts
from causaldsl.check.context import Context, checks
from causaldsl.check.copies import warn_of_copies
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, check_length
from causaldsl.check.prompts import PromptFamily
from causaldsl.check.templates import WORDS, PairMaker
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.makers import Given
from causaldsl.vocabulary.types import PairsType

_FEWEST = 2
"""An interval takes two pairs."""


@checks(ast.Pairs)
def pairs(context: Context, node: ast.Pairs) -> PairFamily:
    if isinstance(node.value, ast.PatternPairs):
        family = _from_templates(context, node, node.value)
    else:
        family = _from_maker(context, node, node.value)
    shapes, span = context.shapes(node.span), node.value.span
    family = family.each(lambda pairs: _right(context, pairs, span))
    sets = family.sets
    with located(span):
        for part in sets:
            for pair in part.pairs:
                check_length(pair.base, shapes.n_ctx - max(map(len, pair.wholes)) + 1)
                for prompt in pair.prompts[1:]:
                    check_length(prompt, shapes.n_ctx)
    if shapes.text:
        warn_of_texts(context, node.name.text, sets, span)
        warn_of_answers(context, node.name.text, sets, span, _end(context, node))
        warn_of_copies(context, node.name.text, sets, span)
    return family


def _right(context: Context, pairs: PairSet, span: Span) -> PairSet:
    """Of pairs with `where correct` those that the model gets right, if a run has found them."""
    if not pairs.where:
        return pairs
    right = context.program.right.get(pairs.digest)
    if right is None:
        said = f"{pairs.name}: a run finds out which of {len(pairs)} pairs the model gets right"
        context.program.readings.append(said)
        return pairs
    chosen = tuple(pair for pair, fine in zip(pairs.pairs, right, strict=True) if fine)
    if len(chosen) < _FEWEST:
        raise wrong(
            "few-right",
            f"the model gets {len(chosen)} of the {len(pairs)} pairs `{pairs.name}` right, and at "
            f"least {_FEWEST} are needed",
            span,
            "give more pairs or easier ones, choose another model, or leave out `where`",
        )
    how = "it prefers the answer to the foil" if pairs.foils else "its most likely token is one"
    said = f"{pairs.name}: {len(chosen)} of {len(pairs)} pairs kept, which the model gets right"
    context.program.readings.append(f"{said}: {how}")
    return replace(pairs, pairs=chosen, where="")


def _end(context: Context, node: ast.Pairs) -> Span:
    """Where it is written how the prompts end: a template that ends in white space, if one does."""
    if isinstance(node.value, ast.PatternPairs):
        family = context.scope.look_up(node.value.prompts.text, node.value.prompts.span)
        for template in family.templates:
            if template.pieces[-1] != template.pieces[-1].rstrip():
                return template.span
    return node.value.span


def _from_templates(context: Context, node: ast.Pairs, pattern: ast.PatternPairs) -> PairFamily:
    family = context.scope.look_up(pattern.prompts.text, pattern.prompts.span)
    if not isinstance(family, PromptFamily):
        message = f"`{pattern.prompts.text}` is not a prompts block"
        raise wrong("wrong-kind", message, pattern.prompts.span)
    maker = PairMaker(family, _counted(context, pattern), context.tokens(node.span))
    with located(pattern.span):
        context.limits.check("pairs", maker.count, "too-many", "this asks for {} pairs")
    for lexicon, dropped in maker.dropped.items():
        if dropped:
            context.warn(
                "dropped-words",
                f"{len(dropped)} of the words of `{lexicon}` stand beside an answer of several "
                "tokens; left out: "
                f"{', '.join(dropped[:4])}{', ...' * (len(dropped) > 4)}",
                pattern.span,
                "take them out of the lexicon",
            )
    if pattern.arrow and all(word.literal for word in (*family.answer, *(family.foil or ()))):
        context.warn(
            "same-answer",
            f"sources of `{node.name.text}` have the answers of their bases, so there is nothing "
            "that a patch from the source should change",
            pattern.span,
            "write an answer that goes with a word, such as `answer X.verb`, or pairs without a "
            f"source: {pattern.prompts.text} {pattern.left.text}",
        )
    return maker.family_of(node.name.text)


def _counted(context: Context, node: ast.PatternPairs) -> ast.PatternPairs:
    """The pattern with every named number written out."""
    options = []
    for option in node.options:
        if option.name not in WORDS and option.value.isidentifier():
            name = ast.Name(option.span, option.value)
            number = context.integer(name, f"a number of {option.name} pairs")
            option = replace(option, value=str(number))
        options.append(option)
    return replace(node, options=tuple(options))


def _read(context: Context, node: ast.Expression) -> str | None:
    """What to write for a file's name alone, or behind a word that there is not."""
    unknown = isinstance(node, ast.Call) and show(node.function) not in context.words.makers
    file = node.arguments[0] if unknown and node.arguments else node  # type: ignore[attr-defined]
    return f"write dataset({show(file)})" if isinstance(file, ast.String) else None


def _from_maker(context: Context, node: ast.Pairs, call: ast.Expression) -> PairFamily:
    if isinstance(call, ast.Name) and call.text == Given.word:
        call = ast.Call(call.span, call, (ast.String(call.span, node.name.text),))
    found: PairFamily | None = made(context, call, PairsType)
    if found is None:
        context.scope.check_words()
        raise wrong(
            "bad-pairs",
            "this does not make pairs",
            call.span,
            _read(context, call)
            or 'write dataset("FILE"), PROMPTS ABB <-> BAB { train 300 test 150 }, or for a toy '
            "model numbers(base: [1], source: [2])",
        )
    return found.called(node.name.text)
