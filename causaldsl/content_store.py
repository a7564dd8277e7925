"""A folder of records under content keys, which any number of processes may use at the same time.

::

    v1/records/ab/ab...   a record, named by the SHA-256 of its bytes
    v1/keys/cd/cd...      the name of the record that has what this key stands for
    v1/new/               what is being written

A record is there as a whole or not at all: it is written under another name and then renamed, and a
reader hashes what it read. It lists the keys that it has, so what was computed together is there
together, even if its writer died before the last of the keys was written. There are no locks: two
writers of one key leave the record of one of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.process import clear_left_behind, mark
from causaldsl.user_cache import cache_folder

VARIABLE, LIMIT_VARIABLE = "CAUSALDSL_STORE", "CAUSALDSL_STORE_LIMIT"
NONE = "none"
"""Written for no store."""
LIMIT = 10 * 2**30
"""Bytes that a store may take where nobody says otherwise."""
_OF_A_KEY = 4096
"""Bytes that a disk takes for a key, whatever is in it."""
_MEASURED = 0.01
"""The share of the limit after which a writer measures the folder again."""


@dataclass(frozen=True)
class Record:
    """One record: its file, its size in bytes, and when it was last used (seconds since 1970)."""

    path: Path
    size: int
    used: float

    @property
    def name(self) -> str:
        return self.path.name

    def read(self) -> bytes | None:
        """Its bytes; None if they are not what they were, or gone."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.name else None

    def about(self) -> dict[str, Any]:
        """What it says of itself: `keys`, `what`, `made_by`; nothing if it can't be read."""
        data = self.read()
        return header(data) if data is not None else {}


class ContentStore:
    """The store in a folder, which is made when something is put there.

    Reading never fails: what can't be read is not there.
    """

    def __init__(self, folder: Path, limit: int = LIMIT):
        self.folder, self.limit = folder, limit
        self._records, self._keys, self._new = (
            folder / "v1" / part for part in ("records", "keys", "new")
        )
        self._unmeasured = 0.0
        self._began = False

    def get(self, keys: Iterable[str]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Every whole record that one of the keys leads to, once, with what it says of itself."""
        names: dict[str, str] = {}
        for key in keys:
            if (name := self._name(key)) is not None:
                names.setdefault(name, key)
        for name, key in names.items():
            record = _record(_placed(self._records, name))
            data = record.read() if record is not None else None
            said = header(data) if data is not None else {}
            if data is not None and key in said.get("keys", ()):
                with suppress(OSError):  # a folder that can't be written to
                    os.utime(_placed(self._records, name))
                yield said, data

    def has(self, key: str) -> bool:
        """Whether there is a record for this key, whole or not."""
        name = self._name(key)
        return name is not None and _placed(self._records, name).is_file()

    def put(self, keys: Sequence[str], data: bytes, replace: bool = False) -> None:
        """Keep a record whose header lists these keys; with ``replace`` in the place of others.

        Raises:
            OSError: if the disk is full or can't be written to; the store is whole as before.
        """
        self._begin()
        name = hashlib.sha256(data).hexdigest()
        before = {self._name(key) for key in keys} - {name, None} if replace else set()
        self._write(_placed(self._records, name), data)
        for key in keys:
            self._write(_placed(self._keys, key), name.encode())
        for old in filter(None, before):
            self._unlink(_placed(self._records, old))
        self._unmeasured += len(data) + _OF_A_KEY * len(keys)
        if self._unmeasured > _MEASURED * self.limit:
            self._unmeasured = 0.0
            self.collect()

    def drop(self, key: str) -> None:
        """Forget what a key stands for, with its record."""
        name = self._name(key)
        self._unlink(_placed(self._keys, key))
        if name is not None:
            self._unlink(_placed(self._records, name))

    def records(self) -> list[Record]:
        """All records, the least recently used first."""
        found = (_record(path) for path in self._records.glob("??/*"))
        return sorted((r for r in found if r is not None), key=lambda r: (r.used, r.name))

    def size(self) -> int:
        """How many bytes all of it takes."""
        return sum(r.size for r in self.records()) + _OF_A_KEY * len(self._all_keys())

    def collect(self, limit: int | None = None) -> tuple[int, int]:
        """Delete the least recently used records beyond the limit, and keys without a record.

        Gives how many records and bytes went.
        """
        self.clean()
        records = self.records()
        size, most = self.size(), self.limit if limit is None else limit
        gone: list[Record] = []
        for record in records:
            if size <= most:
                break
            size -= record.size + _OF_A_KEY * len(record.about().get("keys", ()))
            self._unlink(record.path)
            gone.append(record)
        if gone or limit is not None:
            self._drop_idle_keys({r.name for r in records} - {r.name for r in gone})
        return len(gone), sum(r.size for r in gone)

    def verify(self) -> list[Record]:
        """Hash every record. Those that are not what they were are deleted, and given."""
        bad = [record for record in self.records() if not record.about()]
        for record in bad:
            self._unlink(record.path)
        return bad

    def clean(self) -> None:
        """Delete what dead writers left behind."""
        clear_left_behind(self._new, "*")

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self.collect()

    def _write(self, path: Path, data: bytes) -> None:
        for folder in (path.parent, self._new):  # somebody may have deleted the store
            folder.mkdir(parents=True, exist_ok=True)
        new = self._new / f"{secrets.token_hex(8)}.{mark()}"
        try:
            new.write_bytes(data)
            os.replace(new, path)
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def _drop_idle_keys(self, names: set[str]) -> None:
        """Delete keys of records that are gone; a key newer than the list may have a new one."""
        for pointer in self._all_keys():
            name = self._name(pointer.name)
            if name not in names and (name is None or not _placed(self._records, name).is_file()):
                self._unlink(pointer)

    def _all_keys(self) -> list[Path]:
        return list(self._keys.glob("??/*"))

    def _name(self, key: str) -> str | None:
        """The name of the record that a key leads to."""
        try:
            name = _placed(self._keys, key).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return name if len(name) == 64 and name.isalnum() else None

    @staticmethod
    def _unlink(path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def chosen_store(wanted: str | Path | None, limit: int | None = None) -> ContentStore | None:
    """The store in a folder, or none for "none".

    Where nothing is asked for, that of $CAUSALDSL_STORE, or else the one in the user's cache.

    Raises:
        Mistake: if $CAUSALDSL_STORE_LIMIT is no number of bytes.
    """
    place = str(wanted) if wanted is not None else os.environ.get(VARIABLE, "")
    if place == NONE:
        return None
    folder = Path(place).expanduser().absolute() if place else cache_folder() / "store"
    if limit is None:
        said = os.environ.get(LIMIT_VARIABLE, "")
        if said and not (said.isascii() and said.isdigit()):
            message = f"${LIMIT_VARIABLE} is {said!r}, which is no number of bytes"
            raise Mistake("bad-size", message, f"write {LIMIT}, or say --store-limit 10G")
        limit = int(said) if said else LIMIT
    return ContentStore(folder, limit)


def header(data: bytes) -> dict[str, Any]:
    """What a record says of itself, from the metadata of the safetensors file that it is.

    Nothing if it says nothing that can be read.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        said = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["causaldsl"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    good = isinstance(said, dict) and isinstance(said.get("keys"), list)
    return said if good else {}


def _placed(folder: Path, name: str) -> Path:
    return folder / name[:2] / name


def _record(path: Path) -> Record | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return Record(path, stat.st_size, stat.st_mtime)
