"""What a run found: as it comes from one, or read again from its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow import Table

    from causaldsl.check.checked import CheckedProgram
    from causaldsl.graph.graph import Graph
    from causaldsl.report.in_notebooks import Claims, Numbers, Shown, Traced
    from causaldsl.results.records import Results
    from causaldsl.results.values import Block


class Found(ABC):
    """The results of a run. In a notebook it shows its claims and numbers."""

    results: Results
    """All numbers with their intervals, as in results.json."""
    folder: Path | None
    """Where the run's files are; None if none were written."""

    @property
    @abstractmethod
    def values(self) -> Table:
        """All numbers by pair as one pyarrow table; `run.values.to_pandas()` is a frame."""

    @property
    @abstractmethod
    def subspaces(self) -> Mapping[str, Mapping[str, Any]]:
        """For every named subspace two float64 tensors on the CPU: `vectors` (d, k), as they were
        made, and `basis` (d, rank), orthonormal columns with the same span."""

    @property
    @abstractmethod
    def pictures(self) -> Mapping[str, Shown]:
        """The pictures that a run's folder has as SVG, by their files' names without the ending,
        each with its `svg`: what `plot` and `render` ask for, traces, and the `graph`."""

    @property
    def held(self) -> bool:
        """Whether all claims held."""
        return self.results.held

    @property
    def verdict(self) -> str:
        """`held` if all claims did, `fell` if one fell, else `undecided`."""
        return self.results.verdict

    @property
    def claims(self) -> Claims:
        """The claims with their verdicts, in the program's order; `run.claims.to_pandas()`."""
        from causaldsl.report.in_notebooks import claims_of

        return claims_of(self.results)

    @property
    def measures(self) -> Mapping[str, Numbers]:
        """The numbers of each measure and sweep; `run.measures["m"].to_pandas()` is a frame."""
        from causaldsl.report.in_notebooks import measures_of

        return measures_of(self.results)

    @property
    def traces(self) -> Mapping[str, Traced]:
        """The traces: `run.traces["t"]` shows its picture, `.edges` and `.components` are rows."""
        from causaldsl.report.in_notebooks import traces_of

        return traces_of(self.results, self.pictures)

    def __repr__(self) -> str:
        claims = len(self.results.expectations)
        measured = ", ".join(self.results.measures) or "nothing"
        return f"<{type(self).__name__}: {claims} claims, {self.verdict}; measured: {measured}>"

    def _repr_html_(self) -> str:
        from causaldsl.report.in_notebooks import run_html

        return run_html(self.results, self.measures, self.folder)


@dataclass(frozen=True, eq=False, repr=False)
class Run(Found):
    """What a run found, with its program."""

    program: CheckedProgram
    graph: Graph
    results: Results
    tensors: Mapping[str, Mapping[str, Any]]
    """Those of the subspaces, by their names."""
    by_pair: Sequence[Block]
    """The numbers by pair behind the results, one metric of one arm each."""
    folder: Path | None = None
    unwritten: str = ""
    """Why its files could not be written, where they were to be."""
    reused: tuple[int, int] = (0, 0)
    """How many of the operations that take the model came from the store, and of how many."""
    unkept: str = ""
    """Why what it found could not all be kept in the store."""

    @property
    def values(self) -> Table:
        from causaldsl.results.values import values_table

        return values_table(self.by_pair)

    @property
    def subspaces(self) -> Mapping[str, Mapping[str, Any]]:
        return self.tensors

    @property
    def pictures(self) -> Mapping[str, Shown]:
        from causaldsl.report.in_notebooks import drawings

        return drawings(self.program, self.graph, self.results)

    @property
    def traces(self) -> Mapping[str, Traced]:
        from causaldsl.report.in_notebooks import drawings_by_statement, traces_of

        drawn = drawings_by_statement(self.program, self.graph, self.results)
        return traces_of(self.results, drawn)


@dataclass(frozen=True, eq=False, repr=False)
class KeptRun(Found):
    """A run read from its folder; neither its model nor its program is needed."""

    results: Results
    folder: Path

    @property
    def values(self) -> Table:
        from causaldsl.results.values import read_values

        return read_values(self.folder)

    @cached_property
    def subspaces(self) -> Mapping[str, Mapping[str, Any]]:
        from safetensors.torch import load_file

        files = sorted(self.folder.glob("subspaces/*.safetensors"))
        return {path.stem: load_file(path) for path in files}

    @property
    def pictures(self) -> Mapping[str, Shown]:
        from causaldsl.report.in_notebooks import saved_pictures

        return saved_pictures(self.folder)


def load_run(folder: str | Path) -> KeptRun:
    """What a run found, from the folder that it left.

    Raises:
        Mistake: if there is no run, or one that can't be read.
    """
    from causaldsl.results.reading import read_results

    path = Path(folder)
    return KeptRun(read_results(path), path.absolute())
