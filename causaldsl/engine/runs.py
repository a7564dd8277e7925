"""Clean runs of pairs: groups of prompts that go through a backend together, by pair again after.

No result depends on how prompts are grouped: every number is kept by pair. A backend that is not
ragged gets prompts of one length at a time. Groups are as few as they can
be; only where the clean run of all prompts keeps more than fits into memory (``memory/store.py``)
are there groups small enough to be brought back from a file one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.engine.answers import Answers, answers_of
from causaldsl.engine.backend import Backend, CleanPass, CleanRun, Logits, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.memory.retry import NoRoom
from causaldsl.engine.memory.store import Store
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.freeze import Freeze
from causaldsl.plan.memory import chunk_rows
from causaldsl.plan.needs import Needs


@dataclass
class Group:
    """Prompts that run together: ``rows`` are their pairs' indices.

    ``positions`` are token indices (n, k) from each prompt's beginning.
    """

    rows: Tensor
    clean: CleanRun
    positions: dict[SiteAt, Tensor] = field(default_factory=dict)
    clean_logits: dict[bool, Tensor] = field(default_factory=dict)
    """Logits of the unchanged run, once used: of all tokens (True), of answer and foil (False)."""
    longest: int = 0
    """Tokens of the longest prompt."""


class PromptRuns:
    """One side of a pair set, run clean on one backend.

    With a ``store``, that keeps the clean runs, ``kept_bytes`` in all, and the backend must open
    what is stored (``memory/retry.py``).
    """

    def __init__(
        self,
        backend: Backend,
        pairs: PairSet,
        side: str,
        needs: Needs,
        device: str = "cpu",
        tick: Callable[[int], None] = lambda n: None,
        store: Store | None = None,
        kept_bytes: int = 0,
    ):
        self.backend, self.pairs, self.side, self.device = backend, pairs, side, device
        self.prompts: list[Prompt] = pairs.side(side)
        self.groups: list[Group] = []
        each, at_once = -(-kept_bytes // len(self.prompts)), len(self.prompts)
        if store is not None and kept_bytes > store.resident_bytes:
            at_once = chunk_rows(each, store.transient_bytes)
        for rows in needs.groups(self.prompts, self.backend.ragged):
            waiting = [rows[begin : begin + at_once] for begin in range(0, len(rows), at_once)]
            while waiting:
                part = waiting.pop(0)
                if store is not None:
                    store.evict(each * len(part), self)
                try:
                    self.groups.append(self._run(part, needs, store))
                except NoRoom:
                    if len(part) == 1:
                        raise
                    # What is kept of all of them together may be what doesn't fit.
                    at_once = -(-len(part) // 2)
                    left = [row for some in (part, *waiting) for row in some]
                    waiting = [left[i : i + at_once] for i in range(0, len(left), at_once)]
                else:
                    tick(len(part))
        self.group_of = torch.empty(len(self.prompts), dtype=torch.long)
        self.place_in = torch.empty(len(self.prompts), dtype=torch.long)
        for number, group in enumerate(self.groups):
            self.group_of[group.rows] = number
            self.place_in[group.rows] = torch.arange(len(group.rows))
        self.order = torch.argsort(torch.cat([group.rows for group in self.groups]))
        """Puts what was joined group by group into the order of the pairs."""

    def _run(self, rows: list[int], needs: Needs, store: Store | None) -> Group:
        prompts = [self.prompts[row] for row in rows]
        ids = [prompt.ids for prompt in prompts]
        whole = all(isinstance(i, int) for i in ids[0])
        dtype = torch.long if whole else torch.float64
        lengths = torch.tensor([len(prompt) for prompt in ids])
        longest = int(lengths.max())
        padded = [[*prompt, *[0] * (longest - len(prompt))] for prompt in ids]
        tokens = torch.tensor(padded, dtype=dtype, device=self.device)
        places = [*needs.reads, *needs.edits]
        # One tensor for each position, whatever is there: backends know by it that it is the same.
        named = {
            position: torch.tensor([position.resolve(prompt) for prompt in prompts])
            for position in dict.fromkeys(at.position for at in places)
        }
        positions = {at: named[at.position] for at in places}
        reads = [Read(at.site, positions[at]) for at in needs.reads]
        edits = [Read(at.site, positions[at]) for at in needs.edits]
        logits = self._logits_of(rows, needs) if needs.logits else None
        wanted = CleanPass(tokens, reads, edits, lengths, needs.frozen, logits)
        clean: Any = self.backend.clean(wanted)
        if store is not None:
            clean = store.put(clean, self)
        return Group(torch.tensor(rows), clean, positions, longest=longest)

    def answers(self, rows: Sequence[int]) -> Answers:
        """The answers and foils of some pairs."""
        return answers_of([self.pairs.pairs[row] for row in rows], self.device)

    def _logits_of(self, rows: Sequence[int], needs: Needs) -> Logits:
        """The logits of the clean run that are used; a toy model has no answers."""
        is_text = isinstance(self.prompts[0].ids[0], int)
        return Logits(self.answers(rows).columns if is_text and not needs.vocabulary else None)

    def read(self, at: SiteAt) -> list[Tensor]:
        """The recorded activation, (k, d) for each pair in order."""
        return self.by_pair(
            [group.clean.read(Read(at.site, group.positions[at])) for group in self.groups]
        )

    def by_pair(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Values (...) for each pair in order, from the values (n, ...) of each group."""
        rows = [part.unbind(0) for part in parts]
        places = zip(self.group_of.tolist(), self.place_in.tolist(), strict=True)
        return [rows[group][place] for group, place in places]

    def logits(
        self,
        group: Group,
        edits: list[Edit],
        columns: Tensor | None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        """Logits of a group's prompts under edits: (n, V), or (n, c) for ``columns`` (n, c)."""
        if edits:
            return logits_of(self.backend, group.clean, edits, columns, hold=freeze)
        whole = columns is None
        if whole not in group.clean_logits:
            group.clean_logits[whole] = logits_of(self.backend, group.clean, (), columns)
        return group.clean_logits[whole]
