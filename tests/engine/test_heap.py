"""Freed memory is kept while training, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from causaldsl.engine.cone import heap
from causaldsl.engine.cone.heap import kept_heap
from causaldsl.process import owned


class Library:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.options: dict[int, int] = {}
        self.trimmed: list[int] = []

    def mallopt(self, option: int, value: int) -> int:
        self.options[option] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trimmed.append(pad)
        return 1


def test_thresholds_are_high_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: library)

    def fail() -> None:
        with owned(), kept_heap():
            assert library.options == heap._TRAINING
            assert not library.trimmed
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert library.options == heap._OTHERWISE
    assert library.trimmed == [0]


@pytest.mark.parametrize("found", [OSError, TypeError, object()])
def test_nothing_is_done_where_the_library_is_another(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def library(name: None) -> Any:
        if isinstance(found, type):
            raise found
        return found

    monkeypatch.setattr(heap.ctypes, "CDLL", library)
    with owned(), kept_heap():
        pass


def test_the_allocator_of_another_s_process_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: library)
    with kept_heap():
        assert not library.options
    assert not library.trimmed


def test_the_library_here_takes_them() -> None:
    library = heap._glibc()
    if library is None:
        pytest.skip("the C library is not GNU's")
    for options in (heap._TRAINING, heap._OTHERWISE):
        assert all(library.mallopt(option, value) == 1 for option, value in options.items())
