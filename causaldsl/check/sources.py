"""Words and pairs that come from files or lists: `words`, `phrases`, `jsonl`, `numbers`."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from causaldsl.check.pairs import Pair, PairFamily, PairSet, Prompt
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens, last_token_before

_OBJECT = 'write one object a line: {"base": ..., "source": ..., "answer": ..., "foil": ...}'
_FIELDS = {"base", "source", "answer", "foil", "counterfactual_answer", "split", "positions"}
_SAVED = {"tokens", "pattern"}
"""What the pairs that a run has saved say beyond that, by side."""


def read_text(path: Path, written: str) -> str:
    """A file's text. Raises :class:`Mistake` when it is missing or is not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Mistake(
            "missing-file",
            f"there is no file {written}",
            f"paths are relative to the program; looked for {path}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(
            "unreadable-file",
            f"{written} can't be read as text: {error}",
            "give a file of UTF-8 text",
        ) from None


def read_words(path: Path, written: str) -> tuple[str, ...]:
    """A word list, one a line; blank lines and lines that start with # are left out."""
    lines = (line.strip() for line in read_text(path, written).splitlines())
    words = tuple(line for line in lines if line and not line.startswith("#"))
    check_words(words, written)
    return words


def check_words(words: tuple[str, ...], written: str) -> None:
    """A word list has words, and none twice."""
    if not words:
        raise Mistake("empty-file", f"{written} has no words", "write one word a line")
    repeated = {word for word in words if words.count(word) > 1}
    if repeated:
        raise Mistake(
            "repeated-word",
            f"{written} lists {', '.join(sorted(repeated))} more than once",
            "a word that stands in both halves would be in training and test prompts",
        )


def read_jsonl(
    name: str, path: Path, written: str, tokens: Tokens, train: float | None
) -> PairFamily:
    """Pairs from a JSONL file, one object a line.

    ``train`` is the share of lines that go to `.train` (a seeded shuffle) when the file itself says
    no ``split``.
    """
    pairs: list[tuple[str | None, Pair]] = []
    for number, line in enumerate(read_text(path, written).split("\n"), 1):
        if line.strip():
            where = f"{written}, line {number}"
            pairs.append(_json_pair(line, where, tokens))
    if not pairs:
        raise Mistake("empty-file", f"{written} has no pairs", "write one JSON object a line")
    splits = {split for split, _ in pairs}
    if train is not None and splits != {None}:
        raise Mistake(
            "bad-split", f"{written} says itself which lines are `train`", "leave out `train: ...`"
        )
    if splits == {None}:
        return _unsplit(name, [pair for _, pair in pairs], train)
    if not splits <= {"train", "test"}:
        odd = min(str(s) for s in splits - {"train", "test"})
        raise Mistake(
            "bad-split",
            f"{written} has a line whose split is {json.dumps(odd)}",
            "either every line says `train` or `test`, or none has a split",
        )
    return _parts(name, [(str(split), pair) for split, pair in pairs])


def _unsplit(name: str, pairs: list[Pair], train: float | None) -> PairFamily:
    if train is None:
        return PairFamily(name, whole=PairSet(name, tuple(pairs)))
    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)
    chosen = set(order[: round(train * len(pairs))])
    if not 0 < len(chosen) < len(pairs):
        raise Mistake(
            "bad-split",
            f"a share of {train:g} of {len(pairs)} lines leaves one part empty",
            "choose another share",
        )
    return _parts(name, [("train" if i in chosen else "test", p) for i, p in enumerate(pairs)])


def _parts(name: str, pairs: list[tuple[str, Pair]]) -> PairFamily:
    parts = {
        role: PairSet(f"{name}.{role}", tuple(pair for split, pair in pairs if split == role))
        for role in ("train", "test")
    }
    shared = parts["train"].identities & parts["test"].identities
    if shared:
        raise Mistake(
            "train-test-overlap",
            f"the pair with base {min(min(shared))!r} is in both train and test",
            "take it out of one of them",
        )
    return PairFamily(name, parts["train"] or None, parts["test"] or None)


def _json_pair(line: str, where: str, tokens: Tokens) -> tuple[str | None, Pair]:
    try:
        record = json.loads(line)
        line.encode()
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Mistake(
            "bad-json", f"{where} is not JSON text: {str(error)[:200]}", _OBJECT
        ) from None
    if not isinstance(record, dict):
        raise Mistake("bad-json", f"{where} is not a JSON object", _OBJECT)
    unknown = set(record) - _FIELDS - _SAVED
    needed = ("base", "source", "answer", "foil")
    missing = [f for f in needed if not isinstance(record.get(f), str)]
    if unknown or missing:
        what = f"has no text `{missing[0]}`" if missing else f"has a field `{sorted(unknown)[0]}`"
        raise Mistake("bad-pair", f"{where} {what}", f"fields: {', '.join(sorted(_FIELDS))}")
    positions = record.get("positions", {})
    if not isinstance(positions, dict):
        raise Mistake("bad-pair", f"{where}: positions must be an object of name: text or index")
    base, source = (
        _as_saved(_json_prompt(record[side], side, positions, where, tokens), side, record, where)
        for side in ("base", "source")
    )
    answer, foil = (_answer(record[f], where, tokens) for f in ("answer", "foil"))
    counterfactual, split = record.get("counterfactual_answer"), record.get("split")
    for field, value in (("split", split), ("counterfactual_answer", counterfactual)):
        if value is not None and not isinstance(value, str):
            raise Mistake("bad-pair", f"{where}: `{field}` must be a text")
    if answer == foil:
        raise Mistake(
            "bad-pair", f"{where}: answer and foil are the same token", "choose another foil"
        )
    return split, Pair(
        base,
        source,
        answer,
        foil,
        foil if counterfactual is None else _answer(counterfactual, where, tokens),
    )


def _as_saved(prompt: Prompt, side: str, record: dict[str, Any], where: str) -> Prompt:
    """The prompt with its pattern; its tokens have to be those of the run that saved it."""
    said = {field: record.get(field) for field in _SAVED}
    for field, value in said.items():
        if value is not None and not (isinstance(value, dict) and set(value) == {"base", "source"}):
            raise Mistake("bad-pair", f'{where}: `{field}` must be {{"base": .., "source": ..}}')
    if said["tokens"] and said["tokens"][side] != list(prompt.ids):
        raise Mistake(
            "other-tokens",
            f"{where}: the {side} is not these tokens for this model",
            "the pairs were saved by a run of another model; leave out `tokens` to use their texts",
        )
    pattern = said["pattern"][side] if said["pattern"] else ""
    if not isinstance(pattern, str) or not re.fullmatch("[A-Z]*", pattern):
        raise Mistake("bad-pair", f"{where}: a pattern is capital letters, such as ABB")
    return replace(prompt, pattern=pattern)


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


def _json_prompt(
    text: str, side: str, positions: dict[str, Any], where: str, tokens: Tokens
) -> Prompt:
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
                value.get(side) if isinstance(value, dict) else value,
                name,
                text,
                encoded.offsets,
                f"{where}, {side}",
            ),
        )
        for name, value in positions.items()
    )
    return Prompt(text, encoded.ids, named)


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


def number_pairs(name: str, base: list[float], source: list[float]) -> PairFamily:
    """Pairs of input values for a toy model."""
    if len(base) != len(source) or not base:
        raise Mistake(
            "number-pairs",
            f"{len(base)} base values and {len(source)} source values",
            "write as many of one as of the other: numbers(base: [1, 2], source: [3, 4])",
        )
    pairs = tuple(
        Pair(Prompt(f"{b:g}", (b,)), Prompt(f"{s:g}", (s,)), 0, 0, 0)
        for b, s in zip(base, source, strict=True)
    )
    return PairFamily(name, whole=PairSet(name, pairs))
