"""Pairs from a data file: which rows can be used, what was done, and the line that says so."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from causaldsl.check.limits import Limits
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import Pair, PairSet
from causaldsl.check.readers.columns import Columns, Unusable
from causaldsl.check.readers.containers import Rows
from causaldsl.check.readers.forms import Form, Record, form_of
from causaldsl.check.readers.partners import with_shots, with_sources
from causaldsl.check.records import ANSWERS, answer_texts, pair_of
from causaldsl.check.sources import check_same_sources, parts, unsplit
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens, last_token_before
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.makers import DataFile

_SHOWN = 4
"""How many of the rows that can't be used are named for each reason."""
_OPEN = ("(", "[", "{", '"', "'", "`", "“", "‘", "«")
"""A prompt that ends so has its answer without a space."""
_TRAINED = ("train", "test")
_NO_FOIL = "have no foil, and others have one"
_TEXTS = (*SIDES, *ANSWERS)


@dataclass
class Read:
    """Pairs without a name yet, and the line that says what was done with the file."""

    family: PairFamily
    said: str


def _of_one(match: re.Match[str]) -> str:
    return {"have": "has", "are": "is"}[match[0]]


@dataclass
class _Left:
    """Rows that can't be used, by reason."""

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, shown: str) -> None:
        self.by_reason.setdefault(reason, []).append(shown)

    @property
    def said(self) -> list[str]:
        lines = []
        for reason, shown in self.by_reason.items():
            different = list(dict.fromkeys(shown))
            more = ", ..." if len(different) > _SHOWN else ""
            said = reason if len(shown) > 1 else re.sub(r"^(have|are)\b", _of_one, reason)
            lines.append(f"{len(shown)} {said}: {', '.join(different[:_SHOWN])}{more}")
        return lines


def read_data(word: DataFile, rows: Rows, written: str, tokens: Tokens, limits: Limits) -> Read:
    """The pairs of a file's rows.

    Raises:
        Mistake: if an option must say what the file means, or no row can be used.
    """
    count = len(rows.rows) + len(rows.damaged)
    limits.check("pairs", count, "too-many", f"{written} has {{}} rows")
    left = _Left()
    for where, reason in rows.damaged:
        left.add(reason, where)
    if not rows.rows:
        raise Mistake("empty-file", f"{written} has no rows that can be read", _all(left))
    columns = Columns(rows, word, written)
    form = form_of(columns)
    _check_options(word, form, written)
    records = _records(form, rows, left)
    records, aside = _of_split(records, word, written)
    spaced = _set_spaces(records, tokens)
    doubt = _make_classes(records)
    shots = ""
    if word.shots:
        records, shots = with_shots(records, word)
    if form.sources == "others":
        records = with_sources(records, word.seed, tokens, left.add)
    foils = any("foil" in record for _, record in records)
    make = _Maker(rows.about, tokens, form.sources != "none", word.answers == "whole", foils)
    pairs, differ = _pairs(records, make, left)
    if not pairs:
        raise Mistake("no-usable-row", f"{written} has no row that can be used", _all(left))
    check_same_sources([pair for _, pair in pairs], written, rows.unit)
    kept = _limited(pairs, word)
    family = _family(kept, word, paired=form.sources != "none")
    line = [f"{written}: {rows.container}", form.said, doubt, spaced, shots]
    total = len(pairs) + sum(map(len, left.by_reason.values()))
    line += [f"{len(pairs)} of {total} {rows.unit}s kept", *left.said, *aside]
    if not foils:
        line.append("it has no foils, so only metrics of the answer alone can be reported")
    if differ < len(pairs):
        line.append(f"{differ} of {len(pairs)} differ")
    different = len({pair.identity for _, pair in kept})
    if different < len(kept) or len(kept) < differ:
        line.append(f"{len(kept)} used, {different} different pairs of prompts")
    line.append(_ignored(columns))
    line.append(_pointed(kept, rows.about, tokens))
    return Read(family, "; ".join(part for part in line if part))


def _all(left: _Left) -> str:
    return "; ".join(left.said) or "write a row for each pair"


def _check_options(word: DataFile, form: Form, written: str) -> None:
    """Options that this file has no use for are no silent ones."""
    if word.sources and "sources are" not in form.said:
        message = f"{written} says itself where its sources are from: {form.said}"
        raise Mistake("unused-option", message, "leave out `sources`")
    unused = [name for name in ("template", "shots") if getattr(word, name)]
    if unused and "the template" not in form.said:
        raise Mistake(
            "unused-option",
            f"`{unused[0]}` is for files of inputs and outputs; {written} has prompts",
            f"leave out `{unused[0]}`",
        )


def _records(form: Form, rows: Rows, left: _Left) -> list[tuple[str, Record]]:
    records = []
    for where, row in rows.rows:
        try:
            records += [(where, record) for record in form.records(row)]
        except Unusable as unusable:
            left.add(unusable.reason, unusable.shown or where)
    return records


def _of_split(
    records: list[tuple[str, Record]], word: DataFile, written: str
) -> tuple[list[tuple[str, Record]], list[str]]:
    """The records of training and test, or of the split that is asked for, and what was left."""
    wanted = (word.split,) if word.split is not None else (*_TRAINED, None)
    found = Counter(record.get("split") for _, record in records)
    kept = [(where, record) for where, record in records if record.get("split") in wanted]
    others = {str(name): times for name, times in found.items() if name not in wanted}
    if records and not kept:
        known = ", ".join(f"`{name}`" for name in others)
        raise Mistake(
            "bad-split",
            f"{written} has no rows for this: its splits are {known}",
            f'say which to use: dataset("{written}", split: "{min(others)}")',
        )
    if word.split is not None:
        kept = [(where, record | {"split": None}) for where, record in kept]
    return kept, [f"{times} of `{name}` left out" for name, times in others.items()]


def _set_spaces(records: Iterable[tuple[str, Record]], tokens: Tokens) -> str:
    """Put a space before all answers and foils, if it is in none of them and should be."""
    texts = [record for _, record in records]
    words = [word for record in texts for name in ANSWERS for word in answer_texts(record, name)]
    prompts = [record[side] for record in texts for side in SIDES if side in record]
    if any(word[:1].isspace() for word in words):
        return ""
    if tokens.frame is not None:
        prompts = [tokens.frame.behind]
    if any(text[-1:].isspace() or text.endswith(_OPEN) for text in prompts):
        return ""
    set_any = False
    for record in texts:
        for name in ANSWERS:
            found = answer_texts(record, name)
            if not found or (record["base"][-1:].isdigit() and found[0][:1].isdigit()):
                continue
            several = isinstance(record[name], list)
            record[name] = [f" {word}" for word in found] if several else f" {found[0]}"
            set_any = True
    return "a space is put before every answer" if set_any else ""


def _make_classes(records: Sequence[tuple[str, Record]]) -> str:
    """The class of each side: a source's is its class where it is a base.

    Where some prompt then has none, classes are left out, and what this gives says so.
    """
    of_text = {
        record["base"]: str(record["class"])
        for _, record in records
        if record.get("class") not in (None, "") and not isinstance(record["class"], Mapping)
    }
    for _, record in records:
        cls = record.pop("class", None)
        if isinstance(cls, Mapping):
            record["class"] = dict(cls)
        elif cls not in (None, ""):
            other = record.get("source", record["base"])
            record["class"] = {"base": str(cls), "source": of_text.get(other)}
    known = [record["class"] for _, record in records if "class" in record]
    if len(known) == len(records) and all(cls["source"] is not None for cls in known):
        return ""
    for _, record in records:
        record.pop("class", None)
    return "classes left out: some prompts are never a base and have none" if known else ""


def _pairs(
    records: Sequence[tuple[str, Record]], make: _Maker, left: _Left
) -> tuple[list[tuple[str | None, Pair]], int]:
    """The pair of every record with its split, and how many of them differ."""
    pairs: list[tuple[str | None, Pair]] = []
    for where, record in records:
        try:
            pairs.append(make.pair(record, where))
        except Unusable as unusable:
            left.add(unusable.reason, unusable.shown or where)
    return pairs, len(set(pairs))


@dataclass(frozen=True)
class _Maker:
    """What is needed to make a pair of a record; with ``whole`` answers may have several tokens.

    ``foils`` says whether answers have them.
    """

    about: Mapping[str, Any]
    tokens: Tokens
    paired: bool
    whole: bool
    foils: bool

    def pair(self, record: Record, where: str) -> tuple[str | None, Pair]:
        tokens = self.tokens
        if not self.paired:
            record = record | {"source": record["base"]}
        for name in ANSWERS if not self.whole else ():
            for text in answer_texts(record, name):
                if tokens.single(text) is None:
                    raise Unusable(f"have {_an(name)} of several tokens", text.strip())
        if self.foils and "foil" not in record:
            raise Unusable(_NO_FOIL, where)
        known = {name: record[name] for name in (*_TEXTS, *_KEPT) if record.get(name) is not None}
        known["positions"] = dict(record.get("positions") or {})
        known["positions"] |= _subjects(record, tokens) | _indices(record, self.about, tokens)
        try:
            return pair_of(known, where, tokens, self.whole)
        except Mistake as mistake:
            reason = mistake.message.removeprefix(f"{where}").lstrip(":, ")
            raise Unusable(f"can't be used ({reason})", where) from None


_KEPT = ("sources", "class", "split", "template", "cluster", "counterfactual_answer", "tokens")


def _an(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _subjects(record: Record, tokens: Tokens) -> dict[str, Any]:
    """SUBJECT, the last token of the subject in each prompt that has it, and SUBJECT_FIRST."""
    said = record.get("subject")
    texts = {**{side: record[side] for side in SIDES}, **record.get("sources", {})}
    subjects = said if isinstance(said, Mapping) else dict.fromkeys(texts, said)
    last: dict[str, int] = {}
    first: dict[str, int] = {}
    for side, text in texts.items():
        subject = subjects.get(side)
        if not isinstance(subject, str) or not subject.strip():
            continue
        # In a prompt with shots its own subject is the last one.
        start = text.rfind(subject.strip())
        if start < 0:
            continue
        offsets = tokens.encode(text).offsets
        last[side] = last_token_before(offsets, start + len(subject.strip()))
        first[side] = last_token_before(offsets, start + 1)
    return {"SUBJECT": last, "SUBJECT_FIRST": first} if last else {}


def _indices(record: Record, about: Mapping[str, Any], tokens: Tokens) -> dict[str, int]:
    """`word_idxs`: token indices by name, counted without BOS."""
    said = record.get("word_idxs") or about.get("word_idxs") or {}
    if not isinstance(said, Mapping):
        return {}
    if not said:
        return {}
    begins = len(tokens.begins)
    length = about.get("seq_len")
    for text in (*(record[side] for side in SIDES), *record.get("sources", {}).values()):
        offsets = tokens.encode(text).offsets
        count = len(offsets) - begins
        if tokens.frame is not None:
            inside = [at for at, (start, end) in enumerate(offsets) if start < end]
            begins, count = inside[0], len(inside)
        if not isinstance(length, int):  # an index says nothing of a prompt of another length
            length = count
        if count != length:
            raise Unusable(f"are not the {length} tokens that `word_idxs` is for")
    return {
        re.sub(r"\W", "_", name).upper(): index + begins
        for name, index in said.items()
        if isinstance(index, int) and not isinstance(index, bool) and name.lower() != "end"
    }


def _limited(pairs: list[tuple[str | None, Pair]], word: DataFile) -> list[tuple[str | None, Pair]]:
    """Each pair once, and no more than the limit, drawn by the seed."""
    different = list(dict.fromkeys(pairs))
    if word.limit is None or word.limit >= len(different):
        return different
    chosen = sorted(random.Random(word.seed).sample(range(len(different)), word.limit))
    return [different[number] for number in chosen]


def _family(pairs: list[tuple[str | None, Pair]], word: DataFile, paired: bool) -> PairFamily:
    splits = {split for split, _ in pairs}
    if splits == {None}:
        family = unsplit([pair for _, pair in pairs], word.train, word.seed)
    elif word.train is not None:
        raise Mistake(
            "bad-split", "the file says itself which rows are `train`", "leave out `train: ...`"
        )
    elif None in splits:
        raise Mistake("bad-split", "some rows have a split and others none", "give all of them one")
    else:
        family = parts([(str(split), pair) for split, pair in pairs])
    if paired:
        return family

    def alone(part: PairSet | None) -> PairSet | None:
        return None if part is None else replace(part, paired=False)

    return PairFamily("", alone(family.train), alone(family.test), alone(family.whole))


_READ = {"subject", "word_idxs", "tokens", "positions", "split", "template", "cluster"}


def _ignored(columns: Columns) -> str:
    used = {name.split(".")[0] for name in columns.used.values()} | _READ
    used |= {"counterfactual_answer"}
    others = [name for name in columns.names if name not in used and name]
    if not others:
        return ""
    more = ", ..." if len(others) > _SHOWN else ""
    return f"not used: {', '.join(others[:_SHOWN])}{more}"


def _pointed(pairs: Sequence[tuple[str | None, Pair]], about: Mapping[str, Any], t: Tokens) -> str:
    """What the first prompt has at the indices of `word_idxs`, for a reader to compare."""
    if not about.get("word_idxs"):
        return ""
    base = pairs[0][1].base
    shown = (f"{name} is `{t.piece(int(base.ids[index]))}`" for name, index in base.positions)
    return "in the first prompt " + ", ".join(shown)
