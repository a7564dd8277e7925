"""One record of a file as a pair: its texts, answers, positions and classes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from causaldsl.check.pairs import Pair, Prompt, answered
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens, last_token_before
from causaldsl.syntax.grammar import keywords
from causaldsl.vocabulary.base import SIDES

ANSWERS = ("answer", "foil")
_NAMED = ("split", "counterfactual_answer", "template", "cluster")
_FIELDS = {*SIDES, "sources", *ANSWERS, *_NAMED, "positions", "class"}
_SAVED = {"tokens", "frame"}
"""What the pairs that a run has saved say beyond that, by side."""


def pair_of(
    record: dict[str, Any], where: str, tokens: Tokens, whole: bool = False
) -> tuple[str | None, Pair]:
    """The pair of one record, with its split; with ``whole`` answers may have several tokens.

    Raises:
        Mistake: for one that is wrong.
    """
    sources = sources_of(record, where)
    if sources and record.get("source") is None:
        record = record | {"source": next(iter(sources.values()))}
    if sources and record["source"] == next(iter(sources.values())):
        record = record | {"positions": _also_of_source(record, next(iter(sources)))}
    _check_fields(record, where)
    if (frame := record.get("frame")) is not None:
        if frame != "chat":
            raise Mistake("bad-pair", f"{where}: the frame {frame!r} is not known", "write chat")
        tokens = tokens if tokens.frame is not None else tokens.framed(frame)
    positions = record.get("positions", {})
    if not isinstance(positions, dict):
        raise Mistake("bad-pair", f"{where}: positions must be an object of name: text or index")
    classes = _classes(record, where)
    base, source = (
        replace(_prompt(record[side], side, positions, where, tokens), cls=classes[side])
        for side in SIDES
    )
    others = {name: _prompt(t, name, positions, where, tokens) for name, t in sources.items()}
    if (saved := _by_side(record, "tokens", where, others)) is not None:
        for side, prompt in {"base": base, "source": source, **others}.items():
            _check_tokens(prompt, saved[side], side, where)
    spelled = _spelled(record, where, tokens) if whole else ()
    sets = [tokens[:1] for tokens in spelled] if spelled else _sets(record, where, tokens)
    split, counterfactual, template, cluster = (record.get(field) for field in _NAMED)
    for field in _NAMED:
        if record.get(field) is not None and not isinstance(record[field], str):
            raise Mistake("bad-pair", f"{where}: `{field}` must be a text")
    if spelled or base.begins_line:
        parts = spelled or [(token,) for some in sets for token in some]
        _check_goes_on(record, base, parts, where, tokens)
    if (spelled[0] == spelled[1]) if spelled else set(sets[0]) & set(sets[1]):
        raise Mistake(
            "bad-pair", f"{where}: answer and foil are the same token", "choose another foil"
        )
    given = None if spelled else counterfactual
    of_source = None if given is None else _answer(given, where, tokens)
    pair = answered(base, source, sets, of_source, template or "", cluster or "", spelled)
    return split, replace(pair, others=tuple(others.items())) if others else pair


def sources_of(record: dict[str, Any], where: str) -> dict[str, str]:
    """The texts of sources that have names; none if a record has only the one."""
    said = record.get("sources")
    if said is None:
        return {}
    form = 'write {"sources": {"x": "TEXT", "y": "TEXT"}}, with names that a program can write'
    if not isinstance(said, dict) or not said:
        raise Mistake("bad-source", f"{where}: `sources` must be texts by their names", form)
    for name, text in said.items():
        plain = name.isascii() and name.isidentifier() and name not in keywords()
        if not plain or name in {*SIDES, "all", "END"} or not isinstance(text, str):
            message = f"{where}: the source {json.dumps(name)} has no name or text that can be used"
            raise Mistake("bad-source", message, form)
    return said


def _also_of_source(record: dict[str, Any], name: str) -> Any:
    """Positions, where the first of the named sources is the source too."""
    positions = record.get("positions", {})
    if not isinstance(positions, dict):
        return positions
    return {
        place: {"source": value[name], **value}
        if isinstance(value, dict) and name in value
        else value
        for place, value in positions.items()
    }


def _check_goes_on(
    record: dict[str, Any],
    base: Prompt,
    parts: Sequence[Sequence[int]],
    where: str,
    tokens: Tokens,
) -> None:
    """Answers and foils, of these tokens, are what goes on from the base."""
    texts = [text for name in ANSWERS for text in answer_texts(record, name)]
    for more, text in zip(parts, texts, strict=True):
        if not tokens.goes_on(record["base"], base.ids, text, more):
            raise Mistake(
                "not-a-continuation",
                f"{where}: {text!r} is not cut from the prompt between two tokens",
                "it may not be one token there: choose another, or `answers: whole`"
                if base.begins_line
                else "begin it with a space, or choose another",
            )


def _check_fields(record: dict[str, Any], where: str) -> None:
    """Base and source are texts, answers and foils too or lists of them; there may be no foil."""
    unknown = set(record) - _FIELDS - _SAVED
    missing: list[str] = [side for side in SIDES if not isinstance(record.get(side), str)]
    for name in ANSWERS:
        value = record.get(name)
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) for text in texts):
            missing += [] if name == "foil" and value is None else [name]
    if unknown or missing:
        strange = f"has an unknown field `{min(unknown, default='')}`"
        what = f"has no text `{missing[0]}`" if missing else strange
        raise Mistake("bad-pair", f"{where} {what}", f"fields: {', '.join(sorted(_FIELDS))}")


def answer_texts(record: dict[str, Any], name: str) -> list[str]:
    """All answers or foils of a record."""
    value = record.get(name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _sets(record: dict[str, Any], where: str, tokens: Tokens) -> tuple[tuple[int, ...], ...]:
    """The tokens of all answers, and of all foils."""
    return tuple(
        tuple(_answer(text, where, tokens) for text in answer_texts(record, name))
        for name in ANSWERS
    )


def _spelled(record: dict[str, Any], where: str, tokens: Tokens) -> tuple[tuple[int, ...], ...]:
    """All tokens of answer and foil, if one of them has several."""
    if any(not isinstance(record.get(name), str) for name in ANSWERS):
        raise Mistake(
            "answer-sets",
            f"{where}: with `answers: whole` there is one answer and one foil",
            "leave out `answers: whole` for sets of answers, and where there is no foil",
        )
    found = tuple(tokens.continuation(record[name]) for name in ANSWERS)
    return found if any(len(part) > 1 for part in found) and all(found) else ()


def _by_side(
    record: dict[str, Any], field: str, where: str, others: Collection[str] = ()
) -> dict[str, Any] | None:
    """What a record says of each of its prompts in a field, if it has that field."""
    said = record.get(field)
    if said is not None and not (isinstance(said, dict) and set(said) == {*SIDES, *others}):
        raise Mistake("bad-pair", f'{where}: `{field}` must be {{"base": .., "source": ..}}')
    return said


def _classes(record: dict[str, Any], where: str) -> dict[str, str]:
    """The class of each prompt: any text, compared as it is."""
    said = _by_side(record, "class", where)
    if said is None:
        return dict.fromkeys(SIDES, "")
    for cls in said.values():
        if not isinstance(cls, str) or not cls.strip() or not cls.isprintable():
            raise Mistake("bad-class", f"{where}: a class is a text, not {json.dumps(cls)}")
        if cls in SIDES:
            raise Mistake(
                "reserved-name",
                f"{where}: a class can't be called `{cls}`, which names one side of all pairs",
                "give it another name",
            )
    return said


def _check_tokens(prompt: Prompt, said: Any, side: str, where: str) -> None:
    """A prompt that a run has saved must be the same tokens for this model."""
    if said != list(prompt.ids):
        raise Mistake(
            "other-tokens",
            f"{where}: the {side} is not these tokens for this model",
            "the pairs were saved by a run of another model; leave out `tokens` to use their texts",
        )


def _answer(text: str, where: str, tokens: Tokens) -> int:
    token = tokens.single(text)
    if token is None:
        spaced = tokens.single(" " + text)
        raise Mistake(
            "not-one-token",
            f"{where}: the answer {text!r} is not one token: {'|'.join(tokens.pieces(text))}",
            f"{' ' + text!r}, with a space, is one" if spaced is not None else "choose another",
        )
    return token


def _prompt(text: str, side: str, positions: dict[str, Any], where: str, tokens: Tokens) -> Prompt:
    encoded = tokens.encode(text)
    if not encoded.ids:
        raise Mistake("bad-pair", f"{where}: the {side} is empty")
    for name in {"END", "all"} & positions.keys():
        raise Mistake(
            "reserved-name",
            f"{where}: the position `{name}` has a fixed meaning",
            "choose another name",
        )
    named = tuple(
        (
            name,
            _position(
                value[side] if isinstance(value, dict) else value,
                name,
                text,
                encoded.offsets,
                f"{where}, {side}",
            ),
        )
        for name, value in positions.items()
        if not isinstance(value, dict) or side in value  # else only the other side has it
    )
    behind = tokens.frame.behind if tokens.frame is not None else ""
    return Prompt(text, encoded.ids, named, behind=behind)


def _position(
    value: Any, name: str, text: str, offsets: tuple[tuple[int, int], ...], where: str
) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        index = value if value >= 0 else value + len(offsets)
        if 0 <= index < len(offsets):
            return index
        raise Mistake("position-range", f"{where}: position {name} is token {value} of {text!r}")
    if not isinstance(value, str) or not value or text.count(value) != 1:
        times = text.count(value) if isinstance(value, str) and value else 0
        raise Mistake(
            "position-text",
            f"{where}: position {name} points at {value!r}, which stands {times} times in {text!r}",
            'give a text that stands there once, a token index, or {"base": ..., "source": ...}',
        )
    end = text.index(value) + len(value)
    return last_token_before(offsets, end)
