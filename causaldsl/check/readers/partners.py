"""What rows of a relation need of one another: examples before a prompt, and sources."""

from __future__ import annotations

import random
from collections.abc import Callable

from causaldsl.check.readers.forms import Record
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens
from causaldsl.vocabulary.makers import DataFile

Placed = tuple[str, Record]


def with_shots(records: list[Placed], word: DataFile) -> tuple[list[Placed], str]:
    """All prompts behind the same examples; the rows that they are made of are no pairs."""
    count = word.shots
    if len(records) < count + 2:
        raise Mistake(
            "bad-option",
            f"{count} shots and a pair need {count + 2} rows, and there are {len(records)}",
            "ask for fewer shots",
        )
    drawn = random.Random(word.seed).sample(range(len(records)), count)
    before = "".join(f"{records[n][1]['base']}{records[n][1]['answer']}\n\n" for n in drawn)
    others = [placed for n, placed in enumerate(records) if n not in set(drawn)]
    with_them = [(where, record | {"base": before + record["base"]}) for where, record in others]
    return with_them, f"{count} rows are examples before every prompt"


def with_sources(
    records: list[Placed], seed: int, tokens: Tokens, leave: Callable[[str, str], None]
) -> list[Placed]:
    """Each record with another of the same template, as many tokens and another answer as source.

    Rows are put together in twos, each the other's source, so that every two are one unit of
    evidence; where their number is odd, one more takes its source from one of the others.
    """
    groups: dict[tuple[str, int], list[Placed]] = {}
    for where, record in records:
        if tokens.single(record["answer"]) is None:
            leave("have an answer of several tokens", record["answer"].strip())
            continue
        key = record.get("template", ""), len(tokens.encode(record["base"]))
        groups.setdefault(key, []).append((where, record))
    found: dict[int, Placed] = {}
    for members in groups.values():
        for (where, record), source in _matched(members, seed):
            if source is None:
                leave("have no other row of as many tokens and another answer", where)
                continue
            subjects = {"base": record["subject"], "source": source["subject"]}
            made = record | {"source": source["base"], "foil": source["answer"]}
            found[id(record)] = where, made | {"subject": subjects}
    return [found[id(record)] for _, record in records if id(record) in found]


def _matched(members: list[Placed], seed: int) -> list[tuple[Placed, Record | None]]:
    """Each member with its source, or None: in order of answers, those half the group apart."""
    shuffled = list(members)
    random.Random(seed).shuffle(shuffled)
    shuffled.sort(key=lambda placed: placed[1]["answer"])
    half = len(shuffled) // 2
    matched: list[tuple[Placed, Record | None]] = []
    alone = shuffled[2 * half :]
    for one, other in zip(shuffled[:half], shuffled[half:], strict=False):
        if one[1]["answer"] == other[1]["answer"]:
            alone += [one, other]
        else:
            matched += [(one, other[1]), (other, one[1])]
    for one in alone:
        others = (p[1] for p, _ in matched if p[1]["answer"] != one[1]["answer"])
        matched.append((one, next(others, None)))
    return matched
