"""What a backend takes and gives: passes as data, described once for all backends.

``hooks`` is the reference and serves any model that TransformerLens loads; ``cone`` computes only
what an edit can change. Both give the same numbers. Shapes: A arms (runs with edits of their own),
n prompts, T tokens, V entries of the vocabulary, k positions of a site of width d.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze

T = TypeVar("T")


class CleanRun(Protocol):
    """One clean forward pass, and what was kept of it."""

    tokens: Tensor
    """(n, T) token ids; for a toy model (n, 1) input values."""

    def read(self, read: Read) -> Tensor:
        """A recorded activation, (n, k, d). Raises ``LookupError`` for one that is not there."""
        ...


class Ask(ABC, Generic[T]):
    """What a pass is to find out; ``T`` is the type of the answer."""

    @abstractmethod
    def of_arm(self, arm: int) -> Ask[T]:
        """What is asked of one arm."""

    @abstractmethod
    def answer(self, logits: Tensor, recorded: list[Tensor]) -> T:
        """The answer of one arm, from its logits (n, V) and the activations of the reads."""

    @abstractmethod
    def join(self, answers: Sequence[T]) -> T:
        """The answer of all arms, from those of single arms."""


@dataclass(frozen=True, eq=False)
class Logits(Ask[Tensor]):
    """Logits at the last position, (A, n, V); (A, n, c) at the vocabulary entries ``columns``,
    which are (n, c) or (A, n, c)."""

    columns: Tensor | None = None

    def of_arm(self, arm: int) -> Logits:
        return Logits(_of_arm(self.columns, arm, 2))

    def answer(self, logits: Tensor, recorded: list[Tensor]) -> Tensor:
        found = logits if self.columns is None else logits.gather(1, self.columns)
        return found[None]

    def join(self, answers: Sequence[Tensor]) -> Tensor:
        return _joined(answers)


@dataclass(frozen=True, eq=False)
class Losses(Ask[Tensor]):
    """Cross-entropy (A, n) over the whole vocabulary to the entries ``targets``, (n,) or (A, n)."""

    targets: Tensor

    def of_arm(self, arm: int) -> Losses:
        return Losses(self.targets if self.targets.dim() == 1 else self.targets[arm])

    def answer(self, logits: Tensor, recorded: list[Tensor]) -> Tensor:
        return F.cross_entropy(logits, self.targets.to(logits.device), reduction="none")[None]

    def join(self, answers: Sequence[Tensor]) -> Tensor:
        return _joined(answers)


@dataclass(frozen=True, eq=False)
class Activations(Ask[list[Tensor]]):
    """The activations of ``reads`` with the edits in force, (A, n, k, d) each.

    The reads must have been announced as ``edits_at`` of the clean run. Their positions are already
    cut to the rows of the pass.
    """

    reads: Sequence[Read]

    def of_arm(self, arm: int) -> Activations:
        return self

    def answer(self, logits: Tensor, recorded: list[Tensor]) -> list[Tensor]:
        return [values[None] for values in recorded]

    def join(self, answers: Sequence[list[Tensor]]) -> list[Tensor]:
        return [_joined(values) for values in zip(*answers, strict=True)]


@dataclass(frozen=True, eq=False)
class CleanPass:
    """A run without edits on ``tokens`` (n, T).

    ``reads`` are recorded. ``edits_at`` says where edits and reads of later runs will be, so that
    what those start from (residuals, keys and values) is kept; with ``frozen``, so is what they may
    hold. ``lengths`` (n,) are those of the prompts, which are padded on the right; only a
    ``ragged`` backend takes different ones. ``logits`` are those that will be asked for without
    edits; without any, the run may stop when all reads are done.
    """

    tokens: Tensor
    reads: Sequence[Read] = ()
    edits_at: Sequence[Read] = ()
    lengths: Tensor | None = None
    frozen: bool = False
    logits: Logits | None = field(default_factory=Logits)


@dataclass(frozen=True, eq=False)
class Pass(Generic[T]):
    """A runs that start from one clean run, with all edits of an arm in force in its run.

    ``clean`` is a run that the same backend made. ``rows`` picks prompts of it, (n,) for all arms
    or (A, n) for each; the edits are already cut to these. What ``hold`` names is held at its value
    in the clean run. Logits and losses are differentiable in the edits' values and bases.
    """

    clean: Any
    arms: Sequence[Sequence[Edit]]
    ask: Ask[T]
    rows: Tensor | None = None
    hold: Freeze | None = None

    @property
    def reads(self) -> Sequence[Read]:
        """What is read; nothing where no activations are asked for."""
        return self.ask.reads if isinstance(self.ask, Activations) else ()

    def single_arms(self) -> Iterator[Pass[T]]:
        """A pass for each arm, for a backend that makes one run at a time."""
        for arm, edits in enumerate(self.arms):
            rows, ask = _of_arm(self.rows, arm, 1), self.ask.of_arm(arm)
            yield replace(self, arms=[edits], rows=rows, ask=ask)


Edits = Sequence[Sequence[Edit]]
"""What is in force in each arm."""


class Writer(Protocol):
    """Some prompts in some arms that are written on: logits (A, n, V) behind the last token.

    It is begun once, with what is in force at the prompts' own tokens, and then given the tokens
    (A, n) that come next, with what is in force at these. Positions count from each prompt's
    beginning.
    """

    def begin(self, edits: Edits) -> Tensor: ...

    def go_on(self, tokens: Tensor, edits: Edits) -> Tensor: ...


class Backend(Protocol):
    """Runs a model."""

    name: str
    ragged: bool
    """Whether the prompts of one clean run may have different lengths."""
    at_once: int
    """How much goes through the model together, in a unit of the backend's own: prompts, or
    positions of prompts. No number depends on it."""
    most: int
    """The most that has gone through together, or was to, in that unit; 0 before the first pass."""

    def serves(self, site: Site) -> bool:
        """Whether this site can be edited and read here."""
        ...

    def clean(self, wanted: CleanPass) -> CleanRun:
        """Run the model without edits."""
        ...

    def run(self, wanted: Pass[T]) -> T:
        """Run the model with edits. Raises ``RunFailure`` if one is never made."""
        ...

    def writer(self, tokens: Tensor, lengths: Tensor, room: int) -> Writer:
        """Writes up to ``room`` tokens behind each of the prompts (n, T) of ``lengths`` (n,).

        They are padded on the right; only a ``ragged`` backend takes different lengths.
        """
        ...

    def training(self, steps: int, memory: int | None = None) -> AbstractContextManager[None]:
        """A context for ``steps`` passes with the same number of rows.

        At most ``memory`` bytes are kept to speed them up; None is no limit.
        """
        ...


def logits_of(
    backend: Backend,
    clean: Any,
    edits: Sequence[Edit] = (),
    columns: Tensor | None = None,
    rows: Tensor | None = None,
    hold: Freeze | None = None,
) -> Tensor:
    """Logits of a single run, (n, V) or (n, c): a pass with one arm."""
    return backend.run(Pass(clean, [edits], Logits(columns), rows, hold))[0]


def activations_of(
    backend: Backend,
    clean: Any,
    edits: Sequence[Edit],
    reads: Sequence[Read],
    rows: Tensor | None = None,
    hold: Freeze | None = None,
) -> list[Tensor]:
    """Activations of a single run, (n, k, d) for each read: a pass with one arm."""
    found = backend.run(Pass(clean, [edits], Activations(reads), rows, hold))
    return [values[0] for values in found]


def _of_arm(x: Tensor | None, arm: int, dims: int) -> Tensor | None:
    """``x`` has ``dims`` dimensions if it is the same for all arms, else one more."""
    return x if x is None or x.dim() == dims else x[arm]


def _joined(answers: Sequence[Tensor]) -> Tensor:
    """Answers (1, n, ...) as (A, n, ...); that of a single arm is not copied."""
    return answers[0] if len(answers) == 1 else torch.cat(list(answers))
