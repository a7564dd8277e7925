"""Warnings about texts, answers and positions: what is right as a program and may not be meant.

Each is said once for a set of prompts, with how many of them it concerns and one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from causaldsl.check.context import Context
from causaldsl.check.pairs import NO_TOKEN, Pair, PairSet, Prompt
from causaldsl.check.places import Place, Point
from causaldsl.diagnostics import Label, Span
from causaldsl.model.tokens import Tokens

_GLUED = frozenset("([{<\"'`“‘«-–—_/\\@#$=+*^~|")
"""What a word may follow without a space."""


def warn_of_texts(context: Context, name: str, sets: Sequence[PairSet], span: Span) -> None:
    """Warn of texts that begin with BOS, or end in EOS."""
    tokens = context.tokens(span)
    prompts = list(_prompts(sets))
    begun = [prompt for prompt in prompts if _begins_with_bos(prompt, tokens)]
    bos = "" if tokens.bos is None else tokens.piece(tokens.bos)
    if begun and tokens.begins:
        _warn(
            context,
            "bos-twice",
            f"{_count(begun, prompts)} of `{name}` begin with `{bos}`, and it is put before every "
            "text too",
            span,
            "take it out of the texts, or write `{ bos no }` behind the model",
            begun[0].text,
        )
    elif 0 < len(begun) < len(prompts):
        _warn(
            context,
            "bos-in-some",
            f"{_count(begun, prompts)} of `{name}` begin with `{bos}`, and the others do not",
            span,
            "take it out of the texts, and write `{ bos yes }` behind the model to have it in all",
            begun[0].text,
        )
    ended = [prompt for prompt in prompts if prompt.length > 1 and prompt.ids[-1] in tokens.eos]
    if ended:
        eos = tokens.piece(int(ended[0].ids[-1]))
        _warn(
            context,
            "end-is-eos",
            f"END is `{eos}` in {_count(ended, prompts)} of `{name}`: a text ends there, and the "
            "model does not go on with it",
            span,
            "take it out of the texts, or out of the tokenizer's post-processor if that adds it",
            ended[0].text,
        )


def warn_of_trained_texts(
    context: Context, name: str, bos: bool | None, sets: Sequence[PairSet], span: Span
) -> None:
    """Warn if texts begin with BOS and what a dictionary was trained on did not, or the other way.

    ``bos`` is what its files say of that, None where they say nothing.
    """
    prompts = list(_prompts(sets))
    if bos is None or not prompts:
        return
    tokens = context.tokens(span)
    apart = [one for one in prompts if (one.ids[:1] == (tokens.bos,)) != bos]
    if not apart:
        return
    trained, have = ("with", "do not begin") if bos else ("without", "begin")
    way = f"write `{{ bos {'yes' if bos else 'no'} }}` behind the model"
    if bos and tokens.bos is None:
        way = "the model's tokenizer names none, so that no text can begin as those did"
    _warn(
        context,
        "dictionary-bos",
        f"`{name}` was trained on texts {trained} BOS before them, and {_count(apart, prompts)} of "
        f"the program {have} with it",
        span,
        way,
        apart[0].text,
    )


def warn_of_gradients(context: Context, what: str, span: Span) -> None:
    """Warn of gradients in bfloat16, where the program itself asks for that."""
    model = context.program.model
    if model is not None and model.dtype == "bfloat16":
        context.warn(
            "rounded-gradients",
            f"{what} rests on gradients, and in bfloat16 these can be off by a tenth and more",
            span,
            "run it in float32, or claim only what patches do",
        )


def warn_of_answers(
    context: Context, name: str, sets: Sequence[PairSet], span: Span, end: Span
) -> None:
    """Warn of prompts that end in white space (written at ``end``), of answers without the space
    that the model would set, and of pairs that mix both."""
    tokens = context.tokens(span)
    pairs = [pair for part in sets for pair in part.pairs]
    open_ended = [pair for pair in pairs if _ends_in_space(pair, tokens)]
    if open_ended:
        _warn(
            context,
            "trailing-space",
            f"a prompt ends in white space in {_count(open_ended, pairs, 'pairs')} of `{name}`: it "
            "is a token there, and an answer with a space of its own is not what comes next",
            end,
            "take it out: the space before a word belongs to the word's token",
            open_ended[0].base.text,
        )
    mixed = [pair for pair in pairs if _mixed(pair, tokens)]
    if mixed:
        first = mixed[0]
        answer, foil = (_quoted(tokens.piece(token)) for token in (first.answer, first.foil))
        _warn(
            context,
            "mixed-style",
            f"one of answer and foil begins with a space and the other does not in "
            f"{_count(mixed, pairs, 'pairs')} of `{name}`, such as {answer} and {foil}",
            span,
            "write both with a space, or both without",
            first.base.text,
        )
    bare = [pair for pair in pairs if pair not in mixed and _lacks_space(pair, tokens)]
    if bare:
        answer = tokens.piece(bare[0].answer)
        _warn(
            context,
            "unspaced-answer",
            f"the answer lacks its space in {_count(bare, pairs, 'pairs')} of `{name}`: the model "
            f"would say {_quoted(' ' + answer)}, which is one token too, not {_quoted(answer)}",
            span,
            f"write {_quoted(' ' + answer)}",
            bare[0].base.text,
        )


def warn_of_positions(
    context: Context, place: Place, pairs: PairSet, labels: list[Label], side: str = "source"
) -> None:
    """Warn of named positions where bases and sources are compared at different tokens, or at the
    first one. The ``side`` may be the name of a source."""
    position = place.position
    if position is None or position.whole or not context.shapes(place.span).text:
        return
    for point in (position.first, position.last):
        known = (f"{pairs.name} {side}", str(point))
        if point is None or point.name is None or known in context.compared:
            continue
        context.compared.add(known)
        _warn_of_point(context, point, place.span, pairs, labels, side)


def _warn_of_point(
    context: Context, point: Point, span: Span, pairs: PairSet, labels: list[Label], side: str
) -> None:
    found = [
        (point.resolve(pair.base), point.resolve(pair.prompt(side)), pair.base)
        for pair in pairs.pairs
    ]
    where = "the source" if side == "source" else f"the source `{side}`"
    apart = [one for one in found if one[0] != one[1]]
    if apart:
        base, source, prompt = apart[0]
        _warn(
            context,
            "positions-apart",
            f"`{point}` is at another token in {where} than in the base in "
            f"{_count(apart, found, 'pairs')} of `{pairs.name}`, such as {source} and {base}: "
            "activations differ by the place alone",
            span,
            "use pairs in which it is at the same token, or keep it in mind",
            prompt.text,
            labels,
        )
    first = [one for one in found if 0 in one[:2]]
    if first:
        _warn(
            context,
            "first-token",
            f"`{point}` is token 0 in {_count(first, found, 'pairs')} of `{pairs.name}`: nothing "
            "stands before it, and models treat the first token unlike all others",
            span,
            "let a word stand before it, or write `{ bos yes }` behind the model",
            first[0][2].text,
            labels,
        )


def _warn(
    context: Context,
    code: str,
    message: str,
    span: Span,
    help: str,
    example: str,
    labels: Iterable[Label] = (),
) -> None:
    shown = example if len(example) <= 60 else f"{example[:20]} .. {example[-36:]}"
    context.warn(code, message, span, f"{help}; one is {_quoted(shown)}", labels)


def _count(found: Sequence[object], of: Sequence[object], what: str = "prompts") -> str:
    return f"{len(found)} of {len(of)} {what}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _prompts(sets: Iterable[PairSet]) -> Iterator[Prompt]:
    """All prompts, each once."""
    seen: dict[str, Prompt] = {}
    for part in sets:
        for pair in part.pairs:
            for prompt in pair.prompts:
                seen.setdefault(prompt.text, prompt)
    yield from seen.values()


def _begins_with_bos(prompt: Prompt, tokens: Tokens) -> bool:
    """Whether the text itself begins so, whatever is put before it."""
    return prompt.ids[len(tokens.begins) :][:1] == (tokens.bos,)


def _ends_in_space(pair: Pair, tokens: Tokens) -> bool:
    """Whether a prompt ends in a space, or in a line break that an answer with a space follows."""
    if pair.base.behind:  # the white space is the template's
        return False
    texts = (pair.base.end, pair.source.end)
    if any(text.endswith((" ", "\t")) for text in texts):
        return True
    return pair.base.end[-1:].isspace() and tokens.piece(pair.answer).startswith(" ")


def _mixed(pair: Pair, tokens: Tokens) -> bool:
    if pair.foil == NO_TOKEN:
        return False
    answer, foil = tokens.piece(pair.answer), tokens.piece(pair.foil)
    words = answer.strip()[:1].isalnum() and foil.strip()[:1].isalnum()
    return words and answer.startswith(" ") != foil.startswith(" ")


def _lacks_space(pair: Pair, tokens: Tokens) -> bool:
    """Whether the answer is a word without its space, where a space should follow the prompt."""
    answer, last = tokens.piece(pair.answer), pair.base.end[-1:]
    if not answer[:1].isalnum() or last.isspace() or last in _GLUED:
        return False
    if last.isdigit() and answer[:1].isdigit():  # the number goes on
        return False
    return tokens.single(" " + answer) not in (None, pair.answer)
