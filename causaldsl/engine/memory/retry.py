"""A backend that goes on when memory runs out, with fewer prompts at a time, and opens stored runs.

Every pass goes through here. When one runs out of memory, clean runs go to files (``store.py``),
the backend's ``at_once`` is halved, and the pass is made again. No number depends on it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Backend, CleanPass, CleanRun, Pass, Writer
from causaldsl.engine.memory.store import Store
from causaldsl.model.sites import Site
from causaldsl.plan.chunks import CONE_TOKENS

T = TypeVar("T")

_COMPLAINTS = (
    "not enough memory",
    "DefaultCPUAllocator",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)


class NoRoom(RunFailure):
    """Memory ran out here, and even the smallest parts of the work did not fit."""


class Retrying:
    """Runs another backend's passes on runs that a store keeps."""

    def __init__(
        self, backend: Backend, store: Store, note: Callable[[str], None] = lambda text: None
    ):
        self.backend, self.store, self._note = backend, store, note
        self.name, self.ragged, self.at_once = backend.name, backend.ragged, backend.at_once
        self.most = backend.most
        self.pieces, self._trying = 1, False

    def serves(self, site: Site) -> bool:
        return self.backend.serves(site)

    def clean(self, wanted: CleanPass) -> CleanRun:
        """A clean run of the backend's own, not yet stored."""
        return self.attempt(lambda: self.backend.clean(wanted))

    def run(self, wanted: Pass[T]) -> T:
        def opened() -> T:
            clean, rows = self.store.open(wanted.clean, wanted.rows)
            return self.backend.run(replace(wanted, clean=clean, rows=rows))

        return self.attempt(opened)

    def writer(self, tokens: Tensor, lengths: Tensor, room: int) -> Writer:
        """The backend's own; who writes with it makes all of it again (:meth:`in_pieces`)."""
        return self.backend.writer(tokens, lengths, room)

    @contextmanager
    def training(self, steps: int, memory: int | None = None) -> Iterator[None]:
        """What the backend keeps for a training is taken out of the store's budget."""
        with self.store.lend() as lent:
            allowed = lent if memory is None else min(lent, memory)
            with self.backend.training(steps, allowed):
                yield

    def in_pieces(self, work: Callable[[int], T]) -> T:
        """``work(pieces)``: something differentiated, split into a number of pieces.

        What a pass remembers until its gradient is taken does not get smaller with the number of
        prompts that go through the model together, so here the work as a whole is made again.
        """
        return self.attempt(lambda: work(self.pieces))

    def attempt(self, work: Callable[[], T]) -> T:
        """Do some work of this backend, again and in smaller parts while memory runs out.

        Raises:
            RunFailure: if it does not even fit one prompt at a time.
        """
        if self._trying:  # the outermost attempt makes all of it again
            return work()
        before = self.backend.at_once, self.pieces, self.store.budget
        while True:
            self._trying = True
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            finally:
                self._trying = False
            # Only here are the frames of the failed pass, and their tensors, gone.
            try:
                self._make_smaller()
            except NoRoom:  # smaller parts are no help, so what comes next need not have them
                at_once, self.pieces, budget = before
                self.at_once = self.backend.at_once = at_once
                self.store.budget = budget // 2
                raise

    def _make_smaller(self) -> None:
        if self.backend.at_once <= 1:
            raise NoRoom(
                "there is not enough memory to run one prompt through the model",
                "use shorter prompts, --dtype float32, another --device, or a machine with more",
            )
        # Half of a limit that no pass comes near would be the same pass again.
        reached = min(self.backend.at_once, max(self.backend.most, CONE_TOKENS))
        self.at_once = self.backend.at_once = reached // 2
        self.pieces *= 2
        make_room(self.store)
        self._note("memory ran out, so fewer prompts went through the model at a time from then on")


def make_room(store: Store) -> None:
    """Let clean runs keep half as much in memory, and give back what is free."""
    store.shrink()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(c in str(error) for c in _COMPLAINTS)
