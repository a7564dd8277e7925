"""What a run found, as data: the schema of results.json."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from causaldsl.results.earlier import upgraded
from causaldsl.results.numbers import Number, Record, Value
from causaldsl.results.routes import AttributionRecord, CircuitRecord, ComparisonRecord, TraceRecord

SCHEMA = 4

HELD, FELL, UNDECIDED = "held", "fell", "undecided"


class Expectation(Record):
    """A claim of the program, both sides of its comparison, and whether it held.

    ``difference`` is left - right with its interval from ``low`` to ``high`` at ``level`` over
    ``n`` units (pairs, or templates for a claim over templates); the interval decides. Exact
    numbers have none, and ``n`` is then null. ``found`` is what an audit found, where the claim is
    about its verdict. ``why`` says why nothing could be decided, ``selected`` what of the claim was
    chosen on the pairs that it is about.
    """

    text: str
    place: str
    verdict: Literal["held", "fell", "undecided"]
    left: Value
    right: Value
    difference: Value | None = None
    low: Value | None = None
    high: Value | None = None
    n: int | None = None
    level: float = 0.95
    over: Literal["pairs", "templates"] = "pairs"
    found: str | None = None
    why: str = ""
    selected: str = ""
    registered: bool | None = None
    """Whether a lock had the claim before the run; None if there was no lock."""

    @property
    def held(self) -> bool:
        return self.verdict == HELD


class SweepRecord(Record):
    """The axes of a sweep; its numbers are under `measures`, one arm a cell.

    ``shown`` has, for some axes, what a reader should see instead of the cell's name: the tokens at
    a token index. ``quantities`` says what a variable's values are, such as layers, where that is
    known. ``simultaneous`` has for each metric, in the order of the cells, half the width
    of an interval around the mean such that all cells' intervals hold at once (95%); ``differs``
    the cells whose change from the clean run is not 0 in that sense.
    """

    axes: dict[str, list[str]]
    shown: dict[str, list[str]] = {}
    quantities: dict[str, str] = {}
    arms: list[str]
    simultaneous: dict[str, list[float]] = {}
    differs: dict[str, list[str]] = {}


class SubspaceRecord(Record):
    """A named subspace: its width, numerical rank and length, and how it was trained."""

    made: str
    width: int
    rank: int
    norm: float
    losses: list[float] | None = None
    held_out_losses: list[float] | None = None
    """After each epoch, the loss of the pairs that were held out, where training stops by it."""
    neurons: list[int] | None = None
    """The coordinates that it has, if it was made to have only some."""
    effects: dict[str, dict[str, Number]] | None = None
    """For a learned subspace: metric by metric, on its training pairs and on held-out ones."""


class TableRecord(Record):
    """Numbers over loop variables: ``cells`` by arm, and by the values joined with dots.

    Where they are averages over pairs, ``intervals`` has both ends of each one's own (95%), and
    ``simultaneous`` by which factor those are to be widened so that all of an arm hold at once.
    ``quantities`` says what the values of a variable are, and ``of`` what the numbers of an arm
    are, where that is known.
    """

    axes: dict[str, list[str]]
    quantities: dict[str, str] = {}
    of: dict[str, str] = {}
    cells: dict[str, dict[str, Value]]
    intervals: dict[str, dict[str, tuple[Value, Value]]] = {}
    simultaneous: dict[str, float] = {}


class TemplatesRecord(Record):
    """A metric in each template that a measure's pairs are from.

    ``units`` are those of each template, ``arms`` have the metric in each, None where it is not a
    number there, and ``between`` the standard deviation between templates that sampling does not
    explain (DerSimonian and Laird 1986), in the metric's unit.
    """

    metric: str
    templates: list[str]
    units: list[int]
    arms: dict[str, list[float | None]]
    between: dict[str, float]


class PlotRecord(Record):
    """What a `plot` says: the variable along x, and the number that all others are divided by.

    Every value of the variable ``lines`` has a line of its own.
    """

    target: str
    by: str | None = None
    lines: str | None = None
    relative: float | None = None
    relative_to: str = ""
    metric: str | None = None
    """The one metric of a sweep that is drawn: that of the number it is relative to."""


class ProbeRecord(Record):
    """A probe's held-out score, and what it was trained and tested on.

    A row is one position of a prompt, and for a step also its sign. ``step`` is the length of the
    step that the probe tells from its opposite.
    """

    score: float
    made: str
    prompts_train: int
    prompts_test: int
    n_train: int
    n_test: int
    penalty: float
    step: float | None = None


class HistogramClass(Record):
    """One class in one arm: mean with its 95% bootstrap interval, spread, and counts by bin."""

    n: int
    mean: float
    low: Value
    high: Value
    sd: float
    counts: list[int]


class HistogramArm(Record):
    """One arm: what was projected, by class. Of two classes it is known how far apart they are.

    ``auc`` is the share of pairs of prompts in which the first class lies higher, ``d`` Cohen's d.
    ``edges`` are those of the bins.
    """

    label: str
    edges: list[float]
    classes: dict[str, HistogramClass]
    auc: float | None = None
    d: float | None = None


class HistogramRecord(Record):
    """Projections on directions. Arms at one place are counted in the same bins."""

    arms: dict[str, HistogramArm]


class GenerationRecord(Record):
    """Texts that the model wrote behind prompts, by arm, and numbers of them over the prompts.

    ``texts`` have one for each of the ``prompts``; they are empty where the program reports only
    numbers. ``ended`` says where the model ended its text. ``metrics`` are what each number is of.
    """

    prompts: list[str]
    tokens: int
    sampling: dict[str, float]
    texts: dict[str, list[str]]
    ended: dict[str, list[bool]]
    numbers: dict[str, dict[str, Number]]
    metrics: dict[str, str]


class PrecisionRecord(Record):
    """How far a run in low precision lies from float32, where some of its runs were made in both.

    ``largest`` and ``mean`` are distances between logit differences, ``compared`` of them in
    ``runs`` runs; ``of_means`` is the largest distance between the two means of a run. All are in
    logits.
    """

    dtype: str
    runs: int
    compared: int
    largest: float
    mean: float
    of_means: float


class Evidence(Record):
    """One piece of evidence of an audit; without a value, `meaning` says why."""

    name: str
    value: Number | float | None
    meaning: str
    points_to: Literal["illusory", "faithful", "neither"]
    details: dict[str, Number | int | float] = {}
    """More numbers of the same kind, by what they are; a whole number is a count."""
    scale: tuple[float, float] | None = None
    """Up to where it points to an illusion, and from where to the feature."""


class AuditRecord(Record):
    """The verdict on a subspace, the rule that gave it, and the evidence."""

    audited: str
    """The audit as written: `illusion(v, against: u, on: flip)`."""
    site: str
    pairs: str
    n: int
    """Units, as everywhere; ``n_pairs`` says how many pairs they are."""
    n_pairs: int
    verdict: Literal["illusory", "faithful", "inconclusive"]
    rule: str
    decided_by: list[str]
    """Names of the evidence that the rule rests on; of an inconclusive one, what stands in the way:
    the conditions of a verdict that are not met."""
    evidence: list[Evidence]
    stability: dict[str, str] = {}
    """The verdict with other thresholds, or on part of the pairs, by what was changed."""
    caveat: str


class DictionaryRecord(Record):
    """A dictionary of features: what its files say, and where it stands."""

    layout: str
    """The library whose layout its files have."""
    kind: str
    """How features are chosen: relu, jumprelu, topk, groupmax or gated."""
    k: int = 0
    """How many are active at once, where that is fixed."""
    features: int
    reads: str
    writes: str
    trained_on: str = ""
    """The model that its files name, if they do."""
    files: str
    """The folder, as the program names it."""
    digest: str
    """Of its files, and of how they are read."""


class Results(Record):
    """Everything that a run found."""

    schema_version: int = SCHEMA
    program: str
    params: dict[str, float | str] = {}
    """The program's params as they were in this run."""
    measures: dict[str, dict[str, dict[str, Number]]]
    arms: dict[str, dict[str, str]] = {}
    """What every arm of a measure or sweep does, as written, with the policy of every path."""
    sweeps: dict[str, SweepRecord] = {}
    tables: dict[str, TableRecord] = {}
    plots: dict[str, PlotRecord] = {}
    """By the name of the picture's file, without its ending."""
    probes: dict[str, ProbeRecord] = {}
    histograms: dict[str, HistogramRecord] = {}
    generations: dict[str, GenerationRecord] = {}
    numbers: dict[str, Value] = {}
    intervals: dict[str, Number] = {}
    """Those of the numbers that are worked out from averages over pairs, with their intervals."""
    templates: dict[str, TemplatesRecord] = {}
    """By measure: what its headline metric is in each template."""
    subspaces: dict[str, SubspaceRecord] = {}
    dictionaries: dict[str, DictionaryRecord] = {}
    expectations: list[Expectation] = []
    audits: dict[str, AuditRecord] = {}
    circuits: dict[str, dict[str, CircuitRecord]] = {}
    """By measure or sweep, then by the run's name."""
    traces: dict[str, TraceRecord] = {}
    comparisons: dict[str, ComparisonRecord] = {}
    attributions: dict[str, AttributionRecord] = {}
    precision: PrecisionRecord | None = None
    notes: list[str] = []
    timings: dict[str, float] = {}
    provenance: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, data: Any) -> Any:
        return upgraded(data) if isinstance(data, dict) else data

    @property
    def held(self) -> bool:
        return self.verdict == HELD

    @property
    def verdict(self) -> str:
        """Whether all claims held, or else one fell, or else one is undecided."""
        found = {expectation.verdict for expectation in self.expectations}
        return FELL if FELL in found else UNDECIDED if UNDECIDED in found else HELD
