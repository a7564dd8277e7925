"""Results as rows, and as data frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from causaldsl.diagnostics import suggest
from causaldsl.results.numbers import Number
from causaldsl.results.records import SweepRecord

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Table


_NAMED = 6
"""Arms that are named where a measure is printed."""


class Frame(ABC):
    """Something with rows of named columns."""

    @property
    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the frame."""

    def to_arrow(self) -> Table:
        """The rows as a pyarrow table."""
        import pyarrow

        return pyarrow.Table.from_pylist(self.rows)

    def to_pandas(self) -> DataFrame:
        """The rows as a frame of pandas. Raises ModuleNotFoundError where that isn't installed."""
        import pandas

        return pandas.DataFrame(self.rows)


class Rows(Frame):
    """Rows as they are."""

    def __init__(self, rows: list[dict[str, Any]]):
        self._rows = rows

    def __repr__(self) -> str:
        columns = ", ".join(self._rows[0]) if self._rows else "none"
        return f"<{type(self).__name__}: {len(self)} rows; columns: {columns}>"

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


T = TypeVar("T")


class Missing(KeyError):
    """A name that a run has nothing of."""

    def __str__(self) -> str:
        return str(self.args[0])


class ByName(dict[str, T], Generic[T]):
    """What a run has of one kind, by name. A name that is missing is told with those there are."""

    def __init__(self, kind: str, found: Mapping[str, T], otherwise: str = ""):
        super().__init__(found)
        self._kind, self._otherwise = kind, otherwise

    def __missing__(self, name: str) -> T:
        said = f"the run has no {self._kind} {name!r}; {suggest(str(name), self, f'{self._kind}s')}"
        raise Missing(f"{said}; {self._otherwise}" if self._otherwise else said)


@dataclass(frozen=True, repr=False)
class Measured(Frame):
    """The numbers of one measure or sweep.

    ``run.measures["effects"].to_pandas()`` is a frame with the columns `arm`, one for each loop
    variable, `metric`, `mean`, `low`, `high` (the 95% interval) and `n`.
    """

    name: str
    sweep: SweepRecord | None
    """The axes, if it is a sweep."""
    numbers: Mapping[str, Mapping[str, Number]]
    """By arm, with its cell, and by metric."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each arm, cell and metric. The clean run has no values of loop variables."""
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        axes = self.sweep.axes if self.sweep else {}
        # A cell's name is its values joined by dots: in brackets behind an arm, or alone.
        cells = {".".join(cell): cell for cell in product(*axes.values())} if axes else {}
        for name, metrics in self.numbers.items():
            arm, bracket, cell = name.partition("[")
            place = cells.get(cell.removesuffix("]") if bracket else name)
            values = dict(zip(axes, place or [None] * len(axes), strict=True))
            for metric, number in metrics.items():
                yield {"arm": arm, **values, "metric": metric, **number.model_dump()}

    def __getitem__(self, arm: str) -> Mapping[str, Number]:
        return ByName("arm", self.numbers)[arm]

    def __repr__(self) -> str:
        arms = list(self.numbers)
        named = ", ".join(arms[:_NAMED]) + (
            f" and {len(arms) - _NAMED} more" * (len(arms) > _NAMED)
        )
        metrics = ", ".join(next(iter(self.numbers.values()), ()))
        return f"<{type(self).__name__} {self.name}: arms {named}; metrics {metrics}>"
