"""What clean runs keep: in memory up to a budget, beyond it in files.

Three quarters of the budget are for runs that stay in memory. The rest is for the run that is being
made, and for the run in use that does not stay: it is read from its file for one pass and freed
again. These take a sixteenth each. When memory is short, runs of other prompts go to files, those
not used for longest first. Runs of one owner are gone through in turn, so they don't push each
other out: each would be gone when its turn comes. Files are read and written, not mapped, because
mapped pages count as the process's memory.

Numbers are the same bits when they come back, so no result depends on the budget.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.edits import Read
from causaldsl.engine.memory.offload import Slot, bytes_of, offload, restore
from causaldsl.plan.memory import at_once, room
from causaldsl.process import clear_left_behind, mark


class StoredRun:
    """A clean run that is in memory, in a file, or both. Backends get it by ``Store.open``.

    ``tokens`` (n, T) are those of the run; ``size`` is how many bytes its tensors take.
    """

    def __init__(self, store: Store, run: Any, owner: Hashable):
        self.store, self.owner = store, owner
        self.tokens: Tensor = run.tokens
        self.size = bytes_of(run)
        self.run: Any = run
        self.offloaded: Any = None
        self.path: Path | None = None

    def read(self, read: Read) -> Tensor:
        """The recorded activation, (n, k, d)."""
        run, _ = self.store.open(self, None)
        found: Tensor = run.read(read)
        return found


class Store:
    """Keeps clean runs within ``budget`` bytes of memory.

    ``written`` counts the bytes that went to files; ``most`` is the most that was kept at once,
    wherever it was. The files are gone when the store is closed, collected, or the program ends.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self.written = self.most = 0
        self._kept: dict[StoredRun, None] = {}
        self._used: dict[Hashable, int] = {}
        self._clock = self._files = self._lent = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def resident_bytes(self) -> int:
        """How many bytes of runs may stay in memory."""
        return room(self.budget) - self._lent

    @property
    def transient_bytes(self) -> int:
        """How many bytes one run may take that does not stay."""
        return at_once(self.budget)

    def put(self, run: Any, owner: Hashable) -> StoredRun:
        """Keep a clean run; runs of one ``owner`` are gone through together."""
        stored = StoredRun(self, run, owner)
        self._touch(owner)
        self._kept[stored] = None
        self.most = max(self.most, sum(kept.size for kept in self._kept))
        if not self._fits(stored):
            self._write_out(stored)
        return stored

    def open(self, clean: Any, rows: Tensor | None) -> tuple[Any, Tensor | None]:
        """A run that a backend can use, and ``rows``, of any shape, as rows of that run.

        A run that is in a file comes back whole where memory allows, else only those rows are read.
        """
        if not isinstance(clean, StoredRun):
            return clean, rows
        self._touch(clean.owner)
        if clean.run is None and self._fits(clean):
            clean.run = self._load(clean, None, whole=True)
        if clean.run is not None:
            return clean.run, rows
        if rows is None:
            return self._load(clean, None), None
        taken, again = rows.unique(return_inverse=True)
        return self._load(clean, taken.cpu()), None if torch.equal(taken, rows) else again

    def evict(self, size: int, owner: Hashable) -> None:
        """Move runs of other owners to files until ``size`` bytes more may stay in memory."""
        others = [kept for kept in self._kept if kept.run is not None and kept.owner != owner]
        others.sort(key=lambda kept: self._used[kept.owner])
        while others and self._resident() + size > self.resident_bytes:
            self._write_out(others.pop(0))

    @contextmanager
    def lend(self) -> Iterator[int]:
        """Lend bytes to something else for a while: those that no run takes, at least half."""
        whole = self.resident_bytes
        self._lent = max(whole // 2, whole - self._resident())
        self._cut_back()
        try:
            yield self._lent
        finally:
            self._lent = 0

    def drop(self, owner: Hashable) -> None:
        """Forget the runs of an owner."""
        for kept in [kept for kept in self._kept if kept.owner == owner]:
            del self._kept[kept]
            if kept.path is not None:
                kept.path.unlink(missing_ok=True)

    def shrink(self) -> None:
        """Keep half as much in memory from here on."""
        self.budget //= 2
        self._lent = min(self._lent, room(self.budget))
        self._cut_back()

    def close(self) -> None:
        """Delete all files. The store can be used again."""
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def note(self) -> str | None:
        """What a reader of the results should know of it."""
        if not self.written:
            return None
        return (
            f"kept {readable(self.written)} of clean runs in files: "
            f"give --memory {_enough(self.most)} to keep them in memory"
        )

    def _cut_back(self) -> None:
        for kept in list(self._kept):
            if kept.run is not None and self._resident() > self.resident_bytes:
                self._write_out(kept)

    def _resident(self) -> int:
        return sum(kept.size for kept in self._kept if kept.run is not None)

    def _fits(self, stored: StoredRun) -> bool:
        """Whether this run may be in memory, after others have gone to files for it."""
        more = stored.size if stored.run is None else 0
        self.evict(more, stored.owner)
        return self._resident() + more <= self.resident_bytes

    def _touch(self, owner: Hashable) -> None:
        self._clock += 1
        self._used[owner] = self._clock

    def _write_out(self, stored: StoredRun) -> None:
        if stored.offloaded is None:
            stored.path = self._new_file()
            try:
                with stored.path.open("wb") as file:
                    stored.offloaded = offload(
                        stored.run, len(stored.tokens), lambda tensor: _write(file, tensor)
                    )
            except OSError as error:
                raise RunFailure(
                    f"can't keep clean runs in {stored.path.parent}: {error.strerror}",
                    "give more --memory, or name a folder with more space in TMPDIR",
                ) from None
            self.written += stored.size
        stored.run = None

    def _load(self, stored: StoredRun, taken: Tensor | None, whole: bool = False) -> Any:
        assert stored.path is not None
        path = stored.path
        run = restore(
            stored.offloaded, len(stored.tokens), lambda slot: _read(path, slot, taken), taken
        )
        if whole:
            bytes_of(run)  # reads every slot
        return run

    def _new_file(self) -> Path:
        if self._folder is None:
            clear_left_behind(Path(tempfile.gettempdir()), "causaldsl-*")
            self._folder = tempfile.TemporaryDirectory(f".{mark()}", "causaldsl-")
        self._files += 1
        return Path(self._folder.name) / f"{self._files}.clean"


def readable(size: int) -> str:
    """A number of bytes for people: 2.1 GB."""
    number, unit = float(size), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1024, larger
    return f"{number:.{0 if unit == 'B' or number >= 100 else 1}f} {unit}"


def _enough(size: int) -> str:
    """A budget, as it is written, with which ``size`` bytes stay in memory."""
    tenths, unit = math.ceil(size * 4 / 3 / 1024 * 10), "K"
    for larger in ("M", "G", "T"):
        if tenths < 10000:
            break
        tenths, unit = math.ceil(tenths / 1024), larger
    return f"{tenths / 10:.1f}{unit}"


def _write(file: BinaryIO, tensor: Tensor) -> Slot:
    slot = Slot(file.tell(), tensor.shape, tensor.dtype, tensor.device)
    file.write(_bytes(tensor.detach().cpu().contiguous()))
    return slot


def _read(path: Path, slot: Slot, taken: Tensor | None) -> Tensor:
    """The rows ``taken`` of a tensor, or all."""
    stretches = [(0, slot.shape[0], 0)] if taken is None else list(_stretches(taken.tolist()))
    count = slot.shape[0] if taken is None else len(taken)
    found = torch.empty((count, *slot.shape[1:]), dtype=slot.dtype)
    if found.numel():
        into = _bytes(found)
        with path.open("rb", buffering=0) as file:
            for begin, end, first in stretches:
                file.seek(slot.offset + first * slot.row_bytes)
                part = into[begin * slot.row_bytes : end * slot.row_bytes]
                while len(part):  # one read gives 2 GiB at most
                    part = part[file.readinto(part) or _lost(path) :]
    return found.to(slot.device)


def _stretches(rows: list[int]) -> Iterator[tuple[int, int, int]]:
    """Runs of consecutive rows: begin and end among ``rows``, and the first of these rows."""
    breaks = [i for i, (a, b) in enumerate(pairwise(rows), start=1) if b != a + 1]
    for begin, end in pairwise([0, *breaks, len(rows)]):
        if end > begin:
            yield begin, end, rows[begin]


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return tensor.view(torch.uint8).flatten().numpy().data


def _lost(path: Path) -> int:
    raise RunFailure(f"{path}, which keeps a clean run, has been cut short", "run again")
