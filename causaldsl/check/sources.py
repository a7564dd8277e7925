"""Words and pairs that come from files or lists."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from causaldsl.check.files import missing_file
from causaldsl.check.held_out import based_in, equal_to
from causaldsl.check.limits import Limits
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import NO_TOKEN, Pair, PairSet, Prompt
from causaldsl.check.records import pair_of
from causaldsl.check.units import join
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens
from causaldsl.shown import one_line
from causaldsl.vocabulary.makers import Reader, RowMistake

_END: Any = object()
_FEW = 12
"""How many words a message lists."""
_SHOWN = 4
"""How many wrong rows of a file are shown beside the first; others are counted."""


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
    if len({pair.foil == NO_TOKEN for _, pair in pairs}) > 1:
        raise Mistake(
            "bad-pair",
            f"{written} gives some {reader.row}s a foil and others none",
            f"either every {reader.row} has a `foil`, or none has one",
        )
    if len({pair.base.cls == "" for _, pair in pairs}) > 1:
        raise Mistake(
            "bad-class",
            f"{written} gives some {reader.row}s a class and others none",
            f"either every {reader.row} has a `class`, or none has one",
        )
    check_same_sources([pair for _, pair in pairs], written, reader.row)
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


def check_same_sources(pairs: Sequence[Pair], written: str, row: str) -> None:
    """Every pair has sources of the same names, so that each name stands for one in all pairs."""
    first, *others = ([name for name, _ in pair.others] for pair in pairs)
    for names in others:
        if names != first:
            both = (", ".join(found) or "none" for found in (first, names))
            raise Mistake(
                "bad-source",
                f"{written} has {row}s whose named sources are {' and others with '.join(both)}",
                f"give every {row} sources of the same names, in the same order",
            )


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
                reason = one_line(f"{type(error).__name__}: {error}")
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
    if shared := based_in(found["test"], found["train"]):
        same = equal_to(shared, found["train"])
        text = min(pair.base.text for pair in same or shared)
        raise Mistake(
            "train-test-overlap",
            f"the pair with base {text!r} is in both train and test"
            if same
            else f"{text!r} is a base in test, and a prompt of another pair in train",
            "take it out of one of them",
        )
    clusters = [{pair.cluster for pair in one.pairs} - {""} for one in found.values()]
    if both := clusters[0] & clusters[1]:
        raise Mistake(
            "train-test-overlap",
            f"pairs of the cluster {min(both)!r} are in both train and test",
            "give all pairs of a cluster the same `split`",
        )
    return PairFamily("", found["train"] or None, found["test"] or None)


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
