"""A backend that goes on when memory runs out, with fewer prompts at a time, and opens stored runs.

Every pass goes through here. When one runs out of memory, clean runs go to files (engine/spill.py),
the number of prompts that go through the model together is halved, and the pass is made again. No
number depends on how many that are.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Backend, CleanRun
from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.engine.spill import Store
from causaldsl.model.sites import Site

T = TypeVar("T")

_LIMITS = ("tokens_at_once", "rows")
"""What a backend may call the number of positions or prompts that it runs together."""

_COMPLAINTS = (
    "not enough memory",
    "DefaultCPUAllocator",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)


class Guarded:
    """Runs another backend's passes on runs that a store keeps."""

    def __init__(
        self, backend: Backend, store: Store, note: Callable[[str], None] = lambda text: None
    ):
        self.backend, self.store, self._note = backend, store, note
        self.name, self.ragged = backend.name, backend.ragged
        self.pieces, self._going = 1, False

    def serves(self, site: Site) -> bool:
        return self.backend.serves(site)

    def clean(
        self,
        tokens: Tensor,
        reads: Sequence[Read] = (),
        edits_at: Sequence[Read] = (),
        lengths: Tensor | None = None,
        frozen: bool = False,
        whole: bool = True,
    ) -> CleanRun:
        """A clean run of the backend's own, not yet stored."""
        return self.go_on(
            lambda: self.backend.clean(tokens, reads, edits_at, lengths, frozen, whole)
        )

    def logits(
        self,
        clean: Any,
        edits: Sequence[Edit] = (),
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        return self._on(
            clean,
            rows,
            lambda run, taken: self.backend.logits(run, edits, taken, columns, freeze),
        )

    def record(
        self,
        clean: Any,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        return self._on(
            clean, rows, lambda run, taken: self.backend.record(run, edits, reads, taken, freeze)
        )

    def logits_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        return self._on(
            clean,
            rows,
            lambda run, taken: self.backend.logits_of_arms(run, arms, taken, columns, freeze),
        )

    def losses_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        targets: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        return self._on(
            clean, rows, lambda run, taken: self.backend.losses_of_arms(run, arms, targets, taken)
        )

    def record_of_arms(
        self,
        clean: Any,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        return self._on(
            clean,
            rows,
            lambda run, taken: self.backend.record_of_arms(run, arms, reads, taken, freeze),
        )

    @contextmanager
    def training(self, steps: int, memory: int | None = None) -> Iterator[None]:
        """What the backend keeps for a training is taken out of the store's budget."""
        with self.store.lend() as lent:
            allowed = lent if memory is None else min(lent, memory)
            with self.backend.training(steps, allowed):
                yield

    def in_pieces(self, work: Callable[[int], T]) -> T:
        """Do some work that differentiates, split into as many pieces as it is told.

        What a pass remembers until its gradient is taken does not get smaller with the number of
        prompts that go through the model together, so here the work as a whole is made again.
        """
        return self.go_on(lambda: work(self.pieces))

    def _on(self, clean: Any, rows: Tensor | None, work: Callable[[Any, Tensor | None], T]) -> T:
        """Do some work on rows of a stored run: ``work`` is given a run and which of its rows."""
        return self.go_on(lambda: work(*self.store.open(clean, rows)))

    def go_on(self, work: Callable[[], T]) -> T:
        """Do some work of this backend, again and in smaller parts while memory runs out.

        Raises:
            RunFailure: if it does not even fit one prompt at a time.
        """
        if self._going:  # whoever began makes all of it again
            return work()
        while True:
            self._going = True
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            finally:
                self._going = False
            # Only here are the frames of the failed pass, and their tensors, gone.
            self._make_smaller()

    def _make_smaller(self) -> None:
        name = next(name for name in _LIMITS if hasattr(self.backend, name))
        limit = getattr(self.backend, name)
        if limit <= 1:
            raise RunFailure(
                "there is not enough memory to run one prompt through the model",
                "use shorter prompts, --dtype float32, another --device, or a machine with more",
            )
        setattr(self.backend, name, max(1, limit // 2))
        self.pieces *= 2
        self.store.shrink()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._note("memory ran out, so fewer prompts went through the model at a time from then on")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(c in str(error) for c in _COMPLAINTS)
