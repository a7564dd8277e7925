"""Runs on some pairs of a set, and how what came of them is put together again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from causaldsl.cluster.shards import Rows, made_for
from causaldsl.engine.interpret import interpret_some
from causaldsl.engine.kept.values import Kept
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.session import Session
from causaldsl.engine.words.runs import Ran, run_together
from causaldsl.graph.operations import CleanRunWord, PatchedRunWord


def slice_session(session: Session, rows: Rows) -> Session:
    """A session of the same model for some of the pairs alone; it keeps nothing."""
    graph = session.graph
    pairs = graph.pairs[rows.pairs]
    few = replace(pairs, pairs=pairs.pairs[rows.begin : rows.end])
    of_rows = replace(graph, pairs={**graph.pairs, rows.pairs: few})
    return Session(
        of_rows, session.loaded, session.backends, session.settings, session.progress,
        served=session.served,
    )  # fmt: skip


def run_slice(
    session: Session, kept: Kept, keys: Collection[str], given: Mapping[str, Any]
) -> tuple[dict[str, Ran], tuple[str, ...]]:
    """What came of some runs on the pairs of a session, and what was noted."""
    session.said.clear()
    session.values |= given
    words = {key: session.graph.operation(key).word for key in made_for(kept, keys)}
    changed = [key for key in keys if isinstance(words[key], PatchedRunWord)]
    clean = {k for k, word in words.items() if isinstance(word, CleanRunWord)}.difference(keys)
    interpret_some(session, words.keys() - clean - set(changed))
    found: dict[str, Ran] = {k: (session.values[k], []) for k in keys if k not in changed}
    for group in session.plan.order:
        if some := [key for key in group if key in changed]:
            found |= run_together(session, [session.graph.operation(key) for key in some])
    return found, tuple(dict.fromkeys(session.said))


def joined(parts: Sequence[Ran], count: int) -> Ran:
    """What came of one run on all ``count`` pairs, from its parts in the pairs' order."""
    outcomes = [outcome for outcome, _ in parts]
    columns = {
        name: torch.cat([outcome.columns[name] for outcome in outcomes])
        for name in outcomes[0].columns
    }
    if any(len(column) != count for column in columns.values()):
        raise ValueError(f"parts of {count} pairs have other numbers of rows")
    effects = parts[0][1]
    for _, more in parts[1:]:
        effects = [one.joined(other) for one, other in zip(effects, more, strict=True)]
    return Outcome(columns, max(outcome.largest_change for outcome in outcomes)), effects
