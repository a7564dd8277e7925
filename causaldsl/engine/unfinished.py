"""What is done of a long pass, kept every minute, so that a run that was stopped goes on there.

Patched runs go through the model together and are one record of the store, which a sweep over a
large model takes hours to make. Until then their parts, some arms of some prompts each, are kept
beside it. Parts are made in the same order of the same arms, so the pass ends with the same bits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from causaldsl.engine.das import Checkpoints
from causaldsl.engine.edits import Watch
from causaldsl.engine.outcomes import Found
from causaldsl.engine.runs import PromptRuns
from causaldsl.vocabulary.metrics import Metric

EVERY = 60.0
"""Seconds of work that are lost at most."""


class Unfinished:
    """The parts of a pass by their names, each with what was found of its arms.

    Without ``checkpoints`` there are none, and none are kept. ``wanted`` are the metrics of each
    arm, ``watches`` those of its changes, which go on too.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        runs: PromptRuns,
        wanted: Sequence[Sequence[Metric]],
        watches: Sequence[Sequence[Watch]],
    ):
        self.checkpoints, self.watches = checkpoints, watches
        rows = [group.rows.tolist() for group in runs.groups]
        metrics = [[(one.word, one.origin) for one in of_arm] for of_arm in wanted]
        self.of = hashlib.sha256(f"{runs.pairs.digest} {rows} {metrics}".encode()).hexdigest()
        self.parts: dict[str, list[Found]] = {}
        self.saved = time.monotonic()
        found = checkpoints.load() if checkpoints is not None else None
        if found is not None and found[1].get("of") == self.of:
            self._load(*found)

    def add(self, part: str, found: list[Found]) -> None:
        """Keep a part with all before it, unless that was done a moment ago."""
        self.parts[part] = found
        if self.checkpoints is None or time.monotonic() - self.saved < EVERY:
            return
        tensors: dict[str, Tensor] = {}
        changes: dict[str, list[float]] = {}
        for name, arms in self.parts.items():
            changes[name] = [change for _, change in arms]
            for arm, (numbers, _) in enumerate(arms):
                tensors |= {f"{name}/{arm}/{metric}": one for metric, one in numbers.items()}
        watched = [[(watch.times, watch.largest) for watch in own] for own in self.watches]
        what = f"{len(self.parts)} parts of a pass with {len(self.watches)} runs"
        plain = {"what": what, "of": self.of, "changes": changes, "watched": watched}
        self.checkpoints.save(tensors, plain)
        self.saved = time.monotonic()

    def _load(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        numbers: dict[str, dict[str, dict[str, Tensor]]] = {}
        for name, tensor in tensors.items():
            part, arm, metric = name.split("/")
            numbers.setdefault(part, {}).setdefault(arm, {})[metric] = tensor
        for part, changes in plain["changes"].items():
            self.parts[part] = [(numbers[part][str(i)], c) for i, c in enumerate(changes)]
        for own, seen in zip(self.watches, plain["watched"], strict=True):
            for watch, (times, largest) in zip(own, seen, strict=True):
                watch.go_on(times, largest)
