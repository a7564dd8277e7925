"""What every backend offers: clean runs that are kept, and edited runs that start from them.

``hooks`` is the reference and serves any model that TransformerLens loads; ``cone`` computes only
what an edit can change. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.model.sites import Site


class CleanRun(Protocol):
    """One clean forward pass over prompts of one length, and what was kept of it."""

    tokens: Tensor
    """(n, T) token ids; for a toy model (n, 1) input values."""

    def read(self, read: Read) -> Tensor:
        """The recorded activation, (n, k, d). Only what was asked for at the start is there."""
        ...


class Backend(Protocol):
    """Runs a model."""

    name: str
    ragged: bool
    """Whether the prompts of one clean run may have different lengths."""

    def serves(self, site: Site) -> bool:
        """Whether edits at this site can be run here."""
        ...

    def clean(
        self,
        tokens: Tensor,
        reads: Sequence[Read] = (),
        edits_at: Sequence[Read] = (),
        lengths: Tensor | None = None,
        frozen: bool = False,
        whole: bool = True,
    ) -> CleanRun:
        """Run the model on ``tokens`` (n, T).

        ``reads`` are recorded; ``edits_at`` says where later edits of this run will be, so that
        what they start from (residuals, keys and values) can be kept; with ``frozen``, also what
        later runs hold. ``lengths`` (n,) are those of the prompts, which then are padded on the
        right; only a ``ragged`` backend takes different ones. A run that need not be ``whole`` may
        stop when all reads are done, and then has no logits.
        """
        ...

    def logits(
        self,
        clean: Any,
        edits: Sequence[Edit] = (),
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        """Logits (n, V) at the last position, with all ``edits`` in force.

        ``clean`` is a run that this backend made.
        ``rows`` picks prompts of the clean run (the edits are already cut to these); ``columns``
        (n, c) picks vocabulary entries per prompt, giving (n, c). Differentiable in the edits'
        values and bases. With ``freeze``, everything it names is held at its value in the clean
        run. Raises ``RunFailure`` if an edit's hook never fires.
        """
        ...

    def record(
        self,
        clean: Any,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        """The activations of ``reads`` (cut to ``rows``) with ``edits`` in force, each (n, k, d).

        Where they are must have been announced as ``edits_at`` of the clean run.
        """
        ...

    def logits_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        """Logits (A, n, V) or (A, n, c) of A runs with edits of their own.

        ``rows`` (n,) are the prompts of all of them, (A, n) those of each; ``columns`` likewise
        (n, c) or (A, n, c).
        """
        ...

    def losses_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        targets: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy (A, n) over the whole vocabulary to ``targets``, (n,) or (A, n).

        Differentiable in the edits, without keeping the logits.
        """
        ...

    def record_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        """The activations of ``reads`` in each of A runs, (A, n, k, d) each."""
        ...

    def training(self, steps: int, memory: int | None = None) -> AbstractContextManager[None]:
        """To be entered for so many steps with the same number of rows.

        ``memory`` is how many bytes may be kept for them; None for as many as are of use.
        """
        ...


class OneByOne:
    """For a backend that makes one run at a time: A runs are made one after the other."""

    def logits_of_arms(
        self: Backend,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        return torch.stack(
            [
                self.logits(clean, edits, _own(rows, arm, 1), _own(columns, arm, 2), freeze)
                for arm, edits in enumerate(arms)
            ]
        )

    def losses_of_arms(
        self: Backend,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        targets: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        losses = []
        for arm, edits in enumerate(arms):
            logits, wanted = self.logits(clean, edits, _own(rows, arm, 1)), _own(targets, arm, 1)
            assert wanted is not None
            losses.append(F.cross_entropy(logits, wanted.to(logits.device), reduction="none"))
        return torch.stack(losses)

    def record_of_arms(
        self: Backend,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        recorded = [
            self.record(clean, edits, reads, _own(rows, arm, 1), freeze)
            for arm, edits in enumerate(arms)
        ]
        return [torch.stack(values) for values in zip(*recorded, strict=True)]

    def training(self, steps: int, memory: int | None = None) -> AbstractContextManager[None]:
        return nullcontext()


def _own(given: Tensor | None, arm: int, dims: int) -> Tensor | None:
    """What is given for all arms alike has ``dims`` dimensions, what is given for each one more."""
    return given if given is None or given.dim() == dims else given[arm]
