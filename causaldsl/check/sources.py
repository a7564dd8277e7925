"""Words and pairs that come from files or lists."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from causaldsl.check.files import missing_file
from causaldsl.check.limits import Limits
from causaldsl.check.pairs import Pair, PairFamily, PairSet, Prompt
from causaldsl.check.units import join
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens, last_token_before
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.makers import Reader, RowMistake

_END: Any = object()
_FEW = 12
"""How many words a message lists."""
_TEXTS = ("base", "source", "answer", "foil")
_NAMED = ("split", "counterfactual_answer", "template", "cluster")
_FIELDS = {*_TEXTS, *_NAMED, "positions", "class"}
_SHOWN = 4
"""How many wrong rows of a file are shown beside the first; others are counted."""
_SAVED = {"tokens"}
"""What the pairs that a run has saved say beyond that, by side."""


def read_text(path: Path, written: str) -> str:
    """A file's text. Raises :class:`Mistake` when it is missing or is not text."""
    with _reading(path, written):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def _reading(path: Path, written: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise missing_file(written, path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(
            "unreadable-file",
            f"{written} can't be read as text: {error}",
            "give a file of UTF-8 text",
        ) from None


def read_lines(path: Path, written: str, what: str) -> list[str]:
    """The lines of a file of ``what``. Raises :class:`Mistake` for one that holds rows of data."""
    text = read_text(path, written)
    lines = text.splitlines()
    kind = _looks_like(text, lines)
    if kind is not None:
        raise Mistake(
            "wrong-file",
            f"{written} is {kind}, not {what}",
            f'write {what} one a line; dataset("{written}") reads pairs',
        )
    return lines


def _looks_like(text: str, lines: Sequence[str]) -> str | None:
    """`JSON` or `CSV`, if a text is that and not lines of words."""
    first = next((line.strip() for line in lines if line.strip()), "")
    below = [line for line in lines[1:] if line.strip()]
    if first[:1] in ("[", "{"):
        for part in (text, first):
            with suppress(ValueError, RecursionError):
                if isinstance(json.loads(part), list | dict):
                    return "JSON"
    for delimiter, name in (("\t", "TSV"), (",", "CSV")):
        names = [cell.strip('"') for cell in first.split(delimiter)]
        header = len(names) > 1 and re.fullmatch(r"\w*", names[0]) and all(names[1:])
        header = header and all(re.fullmatch(r"\w+", name) for name in names[1:])
        full = sum(line.count(delimiter) >= len(names) - 1 for line in below)
        if header and full > len(below) / 2:
            return name
    return None


def read_words(path: Path, written: str) -> tuple[str, ...]:
    """A word list, one a line; blank lines and lines that start with # are left out."""
    lines = (line.strip() for line in read_lines(path, written, "words"))
    words = tuple(line for line in lines if line and not line.startswith("#"))
    check_words(words, written)
    return words


def check_words(words: tuple[str, ...], written: str) -> None:
    """A word list has words, and none twice."""
    if not words:
        raise Mistake("empty-file", f"{written} has no words", "write one word a line")
    repeated = sorted(word for word, times in Counter(words).items() if times > 1)
    if repeated:
        more = f" and {len(repeated) - _FEW} more" if len(repeated) > _FEW else ""
        raise Mistake(
            "repeated-word",
            f"{written} lists {', '.join(repeated[:_FEW])}{more} more than once",
            "a word that stands in both halves would be in training and test prompts",
        )


def read_pairs(
    reader: Reader, path: Path, written: str, tokens: Tokens, limits: Limits
) -> PairFamily:
    """Pairs from a file, without a name yet; ``written`` is what the program calls the file."""
    pairs = _pairs(reader, path, written, tokens, limits)
    if not pairs:
        raise Mistake("empty-file", f"{written} has no pairs", reader.form)
    if len({pair.base.cls == "" for _, pair in pairs}) > 1:
        raise Mistake(
            "bad-class",
            f"{written} gives some {reader.row}s a class and others none",
            f"either every {reader.row} has a `class`, or none has one",
        )
    splits = {split for split, _ in pairs}
    if reader.train is not None and splits != {None}:
        message = f"{written} says itself which {reader.row}s are `train`"
        raise Mistake("bad-split", message, "leave out `train: ...`")
    if splits == {None}:
        return unsplit([pair for _, pair in pairs], reader.train)
    if not splits <= {"train", "test"}:
        odd = min(str(s) for s in splits - {"train", "test"})
        raise Mistake(
            "bad-split",
            f"{written} has a {reader.row} whose split is {json.dumps(odd)}",
            f"either every {reader.row} says `train` or `test`, or none has a split",
        )
    return parts([(str(split), pair) for split, pair in pairs])


def _pairs(
    reader: Reader, path: Path, written: str, tokens: Tokens, limits: Limits
) -> list[tuple[str | None, Pair]]:
    """The pair of every row, with its split. Raises one :class:`Mistake` for all wrong rows."""
    pairs: list[tuple[str | None, Pair]] = []
    mistakes: list[Mistake] = []
    for number, (where, row) in enumerate(_rows(reader, path, written), 1):
        limits.check("pairs", number, "too-many", f"{written} has {{}} pairs or more")
        try:
            pairs.append(pair_of(row, where, tokens, getattr(reader, "answers", None) == "whole"))
        except Mistake as mistake:
            mistakes.append(mistake)
    if mistakes:
        first, *others = mistakes
        message = first.message
        if others:
            shown = "; ".join(other.message for other in others[:_SHOWN])
            hidden = len(others) - _SHOWN
            more = f"; and {hidden} more" if hidden > 0 else ""
            message = f"{len(mistakes)} {reader.row}s are wrong. {message}; {shown}{more}"
        raise Mistake(first.code, message, first.help)
    return pairs


def _rows(reader: Reader, path: Path, written: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file that are not blank, each with its place: `file.csv, row 3`."""
    rows = (row for row in reader.rows(path))  # begins only when the first row is asked for
    for number in itertools.count(1):
        where = f"{written}, {reader.row} {number}"
        with _reading(path, written):
            try:
                row = next(rows, _END)
                found = None if row is None or row is _END else dict(row)
            except RowMistake as mistake:
                raise Mistake(mistake.code, f"{where} {mistake.message}", mistake.help) from None
            except (Mistake, OSError, UnicodeDecodeError):
                raise
            except Exception as error:  # a reader may be anybody's
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise Mistake("bad-row", f"{where} can't be read: {reason}", reader.form) from error
        if row is _END:
            return
        if found is not None:
            yield where, found


def unsplit(pairs: list[Pair], train: float | None, seed: int = 0) -> PairFamily:
    """Pairs as a whole, or with a share of their units in `.train`, by a seeded shuffle."""
    if train is None:
        return PairFamily("", whole=PairSet("", tuple(pairs)))
    # Pairs that share a prompt, as a pair and its mirror, go to the same part.
    of_pair = join([pair.named for pair in pairs])
    units = list(dict.fromkeys(of_pair))
    random.Random(seed).shuffle(units)
    chosen = set(units[: round(train * len(units))])
    if not 0 < len(chosen) < len(units):
        raise Mistake(
            "bad-split",
            f"a share of {train:g} of {len(units)} units of pairs leaves one part empty",
            "pairs that share a prompt or a cluster are one unit; choose another share",
        )
    splits = ("train" if unit in chosen else "test" for unit in of_pair)
    return parts(list(zip(splits, pairs, strict=True)))


def parts(pairs: list[tuple[str, Pair]]) -> PairFamily:
    """Pairs by their part, `train` or `test`. Raises :class:`Mistake` where one is in both."""
    found = {
        role: PairSet(role, tuple(pair for split, pair in pairs if split == role))
        for role in ("train", "test")
    }
    shared = found["train"].identities & found["test"].identities
    if shared:
        raise Mistake(
            "train-test-overlap",
            f"the pair with base {min(min(shared))!r} is in both train and test",
            "take it out of one of them",
        )
    return PairFamily("", found["train"] or None, found["test"] or None)


def pair_of(
    record: dict[str, Any], where: str, tokens: Tokens, whole: bool = False
) -> tuple[str | None, Pair]:
    """The pair of one record, with its split; with ``whole`` answers may have several tokens.

    Raises:
        Mistake: for one that is wrong.
    """
    unknown = set(record) - _FIELDS - _SAVED
    missing = [field for field in _TEXTS if not isinstance(record.get(field), str)]
    if unknown or missing:
        what = f"has no text `{missing[0]}`" if missing else f"has a field `{sorted(unknown)[0]}`"
        raise Mistake("bad-pair", f"{where} {what}", f"fields: {', '.join(sorted(_FIELDS))}")
    positions = record.get("positions", {})
    if not isinstance(positions, dict):
        raise Mistake("bad-pair", f"{where}: positions must be an object of name: text or index")
    classes = _classes(record, where)
    base, source = (
        replace(_prompt(record[side], side, positions, where, tokens), cls=classes[side])
        for side in SIDES
    )
    if (saved := _by_side(record, "tokens", where)) is not None:
        _check_tokens(base, saved["base"], "base", where)
        _check_tokens(source, saved["source"], "source", where)
    spelled = _spelled(record, tokens) if whole else ()
    answer, foil = (
        spelled[at][0] if spelled else _answer(record[f], where, tokens)
        for at, f in enumerate(("answer", "foil"))
    )
    split, counterfactual, template, cluster = (record.get(field) for field in _NAMED)
    for field in _NAMED:
        if record.get(field) is not None and not isinstance(record[field], str):
            raise Mistake("bad-pair", f"{where}: `{field}` must be a text")
    for whole_answer, name in zip(spelled, ("answer", "foil"), strict=False):
        if tokens.encode(record["base"] + record[name]).ids != (*base.ids, *whole_answer):
            raise Mistake(
                "not-a-continuation",
                f"{where}: {record[name]!r} is not cut from the prompt between two tokens",
                "begin it with a space, or choose another",
            )
    if (spelled[0] == spelled[1]) if spelled else answer == foil:
        raise Mistake(
            "bad-pair", f"{where}: answer and foil are the same token", "choose another foil"
        )
    return split, Pair(
        base,
        source,
        answer,
        foil,
        foil if spelled or counterfactual is None else _answer(counterfactual, where, tokens),
        template or "",
        cluster or "",
        spelled,
    )


def _spelled(record: dict[str, Any], tokens: Tokens) -> tuple[tuple[int, ...], ...]:
    """All tokens of answer and foil, if one of them has several."""
    found = tuple(tokens.continuation(record[name]) for name in ("answer", "foil"))
    return found if any(len(part) > 1 for part in found) and all(found) else ()


def _by_side(record: dict[str, Any], field: str, where: str) -> dict[str, Any] | None:
    """What a record says of each of its prompts in a field, if it has that field."""
    said = record.get(field)
    if said is not None and not (isinstance(said, dict) and set(said) == set(SIDES)):
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


def number_pairs(base: Sequence[float], source: Sequence[float]) -> PairFamily:
    """Pairs of input values for a toy model, without a name yet."""
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
    return PairFamily("", whole=PairSet("", pairs))
