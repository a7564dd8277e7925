"""The numbers of a measure or sweep as rows: one for each arm, cell and metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causaldsl.results.records import Number

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Table


@dataclass(frozen=True)
class Measured:
    """The numbers of one measure or sweep.

    ``run.measures["effects"].to_pandas()`` is a frame with the columns `arm`, one for each loop
    variable, `metric`, `mean`, `low`, `high` (the 95% interval) and `n`.
    """

    name: str
    axes: tuple[str, ...]
    """The loop variables of a sweep."""
    places: Mapping[str, tuple[str, tuple[str, ...]]]
    """By the name of an arm in the results: the arm, and its cell's value of each variable."""
    numbers: Mapping[str, Mapping[str, Number]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the frame. The clean run has no values of loop variables."""
        return list(self._rows())

    def to_arrow(self) -> Table:
        """The rows as a pyarrow table."""
        import pyarrow

        return pyarrow.Table.from_pylist(self.rows)

    def to_pandas(self) -> DataFrame:
        """The rows as a frame of pandas. Raises ModuleNotFoundError where that isn't installed."""
        import pandas

        return pandas.DataFrame(self.rows)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for name, metrics in self.numbers.items():
            arm, cell = self.places[name]
            values = dict(zip(self.axes, cell or [None] * len(self.axes), strict=True))
            for metric, number in metrics.items():
                yield {"arm": arm, **values, "metric": metric, **number.model_dump()}

    def __getitem__(self, arm: str) -> Mapping[str, Number]:
        return self.numbers[arm]
