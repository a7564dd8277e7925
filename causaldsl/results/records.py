"""What a run found, as data: the schema of results.json."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA = 1


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(Record):
    """A mean over n pairs with its 95% bootstrap interval."""

    mean: float
    n: int
    low: float
    high: float


def two_decimals(value: float) -> str:
    """A number for tables and pictures; a zero has no sign."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


class Expectation(Record):
    """A claim of the program, both sides of its comparison, and whether it held."""

    text: str
    place: str
    left: float
    right: float
    held: bool


class SweepRecord(Record):
    """The axes of a sweep; its numbers are under `measures`, one arm a cell.

    ``shown`` has, for some axes, what a reader should see instead of the cell's name: the tokens at
    a token index.
    """

    axes: dict[str, list[str]]
    shown: dict[str, list[str]] = {}
    arms: list[str]


class SubspaceRecord(Record):
    """A named subspace: its width, numerical rank and length, and how it was trained."""

    made: str
    width: int
    rank: int
    norm: float
    losses: list[float] | None = None
    effects: dict[str, dict[str, Number]] | None = None
    """Of a learned one: metric by metric, on the pairs it was trained on and on held-out ones."""


class Results(Record):
    """Everything that a run found."""

    schema_version: int = SCHEMA
    program: str
    measures: dict[str, dict[str, dict[str, Number]]]
    sweeps: dict[str, SweepRecord] = {}
    numbers: dict[str, float] = {}
    subspaces: dict[str, SubspaceRecord] = {}
    expectations: list[Expectation] = []
    audits: dict[str, Any] = {}
    traces: dict[str, Any] = {}
    notes: list[str] = []
    timings: dict[str, float] = {}
    provenance: dict[str, Any] = {}

    @property
    def held(self) -> bool:
        return all(expectation.held for expectation in self.expectations)
