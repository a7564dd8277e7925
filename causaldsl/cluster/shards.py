"""The shards of a run: what of its plan one worker makes, and what must be there before.

Patched runs are cut by pairs where a pair's numbers rest on that pair alone, and by arms too where
there are many; runs whose changes rest on all pairs (a mean, other pairs' values) by arms only. All
else that takes the model stays whole: trainings, traces, audits. A worker makes again for its shard
what is not kept of a run: clean runs, and the values of interventions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from causaldsl.engine.kept.needed import outcomes_taken
from causaldsl.engine.kept.values import Kept
from causaldsl.graph.operations import CleanRunWord, Operation, PatchedRunWord
from causaldsl.plan.keeping import used_by
from causaldsl.plan.sharing import Members

MOST_RUNS = 2**16
"""Arms x pairs of one shard, so that one that is lost costs little."""


@dataclass(frozen=True)
class Rows:
    """Some of the pairs behind an operation, from ``begin`` to ``end``."""

    pairs: str
    begin: int
    end: int


@dataclass(frozen=True)
class Shard:
    """Operations for one worker, which take the values of those in ``after``.

    With ``rows``, only their numbers for these pairs; the ``group`` is all operations of the pass,
    which are judged and kept together. ``whole`` says that it is all of what goes through the model
    together.
    """

    keys: Members
    after: frozenset[str]
    what: str
    whole: bool = True
    rows: Rows | None = None
    group: Members = ()


def shards_of(kept: Kept, workers: int, most: int = MOST_RUNS) -> list[Shard]:
    """All that the store lacks, in the order of the plan."""
    graph, todo = kept.graph, {key for key in kept.made if kept.keeps(key)}
    clean = [k for k in graph.order() if k in todo and _is(graph.operation(k), CleanRunWord)]
    alone = runs_by_pair(kept) if workers > 1 else set()
    found: list[Shard] = []
    for members in kept.plan.order:
        group = [key for key in members if key in todo and key not in clean]
        apart, rest = (tuple(k for k in group if (k in alone) == one) for one in (True, False))
        arms = bool(rest) and _is(graph.operation(rest[0]), PatchedRunWord)
        for part in (*_cut(apart, 1), *_cut(rest, workers if arms else 1)):
            # The outcome of a clean run is found where the run is made first.
            under = set(_below(kept, part, todo, through=True))
            own = [key for key in clean if key in under]
            clean = [key for key in clean if key not in under]
            keys = (*own, *part)
            after = frozenset(_below(kept, keys, todo)).difference(keys)
            shard = Shard(keys, after, _what(kept, part), len(part) == len(members))
            found += _by_pair(kept, shard, workers, most) if part[0] in alone else [shard]
    return found + [Shard((key,), frozenset(), _what(kept, [key])) for key in clean]


def runs_by_pair(kept: Kept) -> set[str]:
    """The patched runs whose numbers for a pair rest on that pair alone, beside kept values.

    Of several changes, whether their order matters is seen on all pairs.
    """
    graph, alone, given = kept.graph, set[str](), set[str]()
    for key in graph.order():
        operation, used = graph.operation(key), used_by(graph, kept.plan, key)
        word, place = operation.word, operation.at
        scaled = place is not None and place.site.kind == "random_mlp"  # by all bases
        if word.is_alone and not scaled:
            if kept.plan.asked[key].writes is None and used <= alone | given:
                alone.add(key)
        elif not word.large and (
            kept.keeps(key) or word.passing or (word.runs == "nothing" and used <= given)
        ):
            given.add(key)
    runs = {key for key in alone if _is(graph.operation(key), PatchedRunWord)}
    return {key for key in runs if len(graph.operation(key).inputs_as("do")) == 1}


def given_to(kept: Kept, keys: Collection[str]) -> set[str]:
    """What operations that are made by pair take as it is: subspaces, numbers and matrices."""
    graph, plan = kept.graph, kept.plan
    seen, rest, found = set(keys), list(keys), set[str]()
    while rest:
        for key in used_by(graph, plan, rest.pop()) - seen:
            seen.add(key)
            (rest.append if graph.operation(key).word.is_alone else found.add)(key)
    return found


def made_for(kept: Kept, keys: Collection[str]) -> set[str]:
    """What a worker makes again, for some pairs, of what is not kept."""
    seen, rest = set(keys), list(keys)
    while rest:
        new = used_by(kept.graph, kept.plan, rest.pop()) - seen
        rest += [key for key in new if kept.graph.operation(key).word.is_alone]
        seen |= new
    return seen


def _by_pair(kept: Kept, shard: Shard, workers: int, most: int) -> Iterator[Shard]:
    """A shard cut by pairs, and by arms where that is not enough."""
    clean = kept.graph.operation(shard.keys[-1]).input("base")
    pairs = kept.graph.operation(clean).input("pairs")
    count = len(kept.graph.pairs[pairs])
    rows = list(_cut(range(count), max(workers, -(-count // most))))
    at_once = max(1, most // max(map(len, rows)))
    for some, own in product(_cut(shard.keys, -(-len(shard.keys) // at_once)), rows):
        place = Rows(pairs, own[0], own[-1] + 1)
        yield Shard(tuple(some), shard.after, shard.what, False, place, shard.keys)


def _cut(members: Sequence[Any], count: int) -> Iterator[Any]:
    """At most ``count`` parts of nearly equal size, in order; none of nothing."""
    count = min(count, len(members))
    ends = [len(members) * part // max(1, count) for part in range(count + 1)]
    for begin, end in pairwise(ends):
        yield members[begin:end]


def _below(
    kept: Kept, keys: Collection[str], todo: Collection[str], through: bool = False
) -> Iterator[str]:
    """What is made by others and taken by these, straight or by what is made again for them.

    What is found is not made again, nor what it was made from. With ``through``, the clean runs
    that are made for them.
    """
    seen, rest = set(keys), list(keys)
    while rest:
        above = rest.pop()
        if not through:
            yield from outcomes_taken(kept.graph, above).intersection(todo)
        for key in used_by(kept.graph, kept.plan, above) - seen:
            seen.add(key)
            is_clean = _is(kept.graph.operation(key), CleanRunWord)
            if key in todo and is_clean == through:
                yield key
            if key not in kept.found and (is_clean or key not in todo):
                rest.append(key)


def _is(operation: Operation, word: type) -> bool:
    return isinstance(operation.word, word)


def _what(kept: Kept, keys: Sequence[str]) -> str:
    """A shard for people: its word, and its name or how many there are."""
    label = kept.graph.operation(keys[0]).word.word.replace("_", " ")
    if len(keys) > 1:
        return f"{label}, {len(keys)} together"
    name = kept.graph.name_of(keys[0])
    return f"{label} {name}" if name else label
