"""The shards of a run: what of its plan one worker makes, and what must be there before.

A shard is operations whose values take the model and stand in the results: some arms of a pass, or
one training, trace or audit, which stay whole. Where a worker starts, it makes again what is not
kept: clean runs, and the values of interventions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from causaldsl.engine.kept.values import Kept
from causaldsl.graph.operations import CleanRunWord, PatchedRunWord
from causaldsl.plan.keeping import used_by
from causaldsl.plan.sharing import Members


@dataclass(frozen=True)
class Shard:
    """Operations for one worker, which take the values of those in ``after``.

    ``whole`` says that it is all of what goes through the model together.
    """

    keys: Members
    after: frozenset[str]
    what: str
    whole: bool = True


def shards_of(kept: Kept, workers: int) -> list[Shard]:
    """All that the store lacks, in the order of the plan; arms of a pass for each worker."""
    graph, todo = kept.graph, {key for key in kept.made if kept.keeps(key)}
    clean = [key for key in todo if isinstance(graph.operation(key).word, CleanRunWord)]
    found: list[Shard] = []
    for group in kept.plan.order:
        members = [key for key in group if key in todo and key not in clean]
        arms = bool(members) and isinstance(graph.operation(members[0]).word, PatchedRunWord)
        for part in _parts(members, workers if arms else 1):
            # The outcome of a clean run is that of the first shard which makes the run.
            own = [key for key in clean if key in set(_below(kept, part, todo, through=True))]
            clean = [key for key in clean if key not in own]
            keys = (*own, *part)
            after = frozenset(_below(kept, keys, todo)).difference(keys)
            found.append(Shard(keys, after, _what(kept, part), len(part) == len(group)))
    return found + [Shard((key,), frozenset(), _what(kept, [key])) for key in clean]


def _parts(members: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    """At most ``count`` parts of nearly equal size, in order; none of nothing."""
    count = min(count, len(members))
    ends = [len(members) * part // count for part in range(count + 1)] if count else [0]
    for begin, end in zip(ends, ends[1:], strict=False):
        yield members[begin:end]


def _below(
    kept: Kept, keys: Collection[str], todo: Collection[str], through: bool = False
) -> Iterator[str]:
    """What is made by others and taken by these, straight or by what is made again for them.

    With ``through``, the clean runs that are made for them.
    """
    seen, rest = set(keys), list(keys)
    while rest:
        for key in used_by(kept.graph, kept.plan, rest.pop()) - seen:
            seen.add(key)
            is_clean = isinstance(kept.graph.operation(key).word, CleanRunWord)
            if key in todo and is_clean == through:
                yield key
            if is_clean or key not in todo:
                rest.append(key)


def _what(kept: Kept, keys: Sequence[str]) -> str:
    """A shard for people: its word, and its name or how many there are."""
    label = kept.graph.operation(keys[0]).word.word.replace("_", " ")
    if len(keys) > 1:
        return f"{label}, {len(keys)} together"
    name = kept.graph.name_of(keys[0])
    return f"{label} {name}" if name else label
