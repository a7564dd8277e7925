"""Records of where an effect goes: traces, attributions, circuits."""

from __future__ import annotations

from typing import Literal

from causaldsl.results.numbers import Number, Record


class TraceNode(Record):
    """A component that a trace looked at, or one of its two ends."""

    id: str
    """`patch`, `20.0@END`, `mlp21@END`, `logits`: unique in its trace."""
    kind: Literal["intervention", "head", "mlp", "logits"]
    layer: int | None = None
    head: int | None = None
    position: str = ""
    mediated: Number | None = None
    """How much of the change of the metric goes when the component is held at clean."""
    share: Number | None = None
    """The same, as a share of the total effect."""


class TraceEdge(Record):
    """A path between two nodes of a trace, measured by exact path patching."""

    sender: str
    receiver: str
    effect: Number
    """Under the intervention: metric with the path patched - clean metric."""
    natural: Number
    """The same path with the sender's own natural change. For the intervened component that is its
    whole change from base to source; for one further on, its change when the residual stream right
    behind the intervened component is the source's."""
    share: float
    """effect.mean / total.mean: positive pushes the way the total effect goes."""
    natural_share: float
    dormant: bool
    """It carries effect under the intervention and none or the opposite naturally, or the other way
    round."""
    asleep: Literal["", "data", "intervention", "opposite"] = ""
    """Of a dormant one: where it carries nothing; `opposite` if it does in both, and in opposite
    ways."""
    shown: bool


class CircuitRecord(Record):
    """The circuit that a run was on: what kept its own values, of what there is.

    ``parts`` are the nodes, or edges, inside; not listed where they are very many.
    """

    does: str
    """Source text: `only c else source`."""
    size: int
    universe: int
    """How many nodes or edges there are of the kinds that it is over."""
    over: str
    outside: str
    """What all else had: `source`, `mean`."""
    parts: list[str] = []


class TraceRecord(Record):
    """What carried the effect of an intervention on a metric."""

    does: str
    """Source text of the intervention: `patch mlp along v_mlp`."""
    metric: str
    pairs: str
    n: int
    """Units, as everywhere; ``n_pairs`` says how many pairs they are."""
    n_pairs: int
    positions: list[str]
    policy: str
    """What was held at clean on every path: `freeze all, layernorm recompute`."""
    clean: Number
    total: Number
    """Metric under the intervention - clean metric."""
    explained: Number
    """Share of the total that the shown edges carry when all else is held at clean."""
    nodes: list[TraceNode]
    """What is drawn: the intervention, the top components, the logits."""
    edges: list[TraceEdge]
    """All edges among the nodes."""
    components: list[TraceNode]
    """Every component that was traced, drawn or not."""


class ComparisonRow(Record):
    """One component's mediated share under two interventions."""

    component: str
    left: Number
    right: Number


class ComparisonRecord(Record):
    """Two traces beside each other, over the components that both traced."""

    left: str
    """Names of the two traces."""
    right: str
    rank_correlation: float
    """Spearman's, over the mediated shares."""
    rows: list[ComparisonRow]


LISTED = 500
"""Estimates of an attribution that its record has: the largest."""


class AttributedRecord(Record):
    """A site, neuron, feature or edge with its estimate, and its effect where that was measured."""

    name: str
    site: str = ""
    layer: int | None = None
    head: int | None = None
    position: str = ""
    neuron: int | None = None
    sender: str = ""
    receiver: str = ""
    estimate: Number
    """Of the change of the metric when it is patched from the source: by gradients, no patch. An
    edge is patched as a path with all else held, and layer norms anew."""
    exact: Number | None = None
    """That change, measured."""


class AttributionRecord(Record):
    """Estimates of what patching each of ``count`` sites, neurons or features would do to a metric.

    ``largest`` are those of largest size, up to ``LISTED``. ``drawn`` was drawn from all and
    measured too. ``rank_correlation`` (Spearman's) is about those of it that do something; ``idle``
    of it do nothing on these pairs: their estimate and effect are 0. It is None if nothing was
    measured, or for the reason that ``withheld`` says.
    """

    metric: str
    pairs: str
    n: int
    """Units, as everywhere; ``n_pairs`` says how many pairs they are."""
    n_pairs: int
    says: str
    """What is attributed to, as written."""
    steps: int
    integrate: str = ""
    """What goes from base to source over the steps: `inputs` or `activations`."""
    of: Literal["sites", "neurons", "features", "edges"] = "sites"
    count: int
    clean: Number
    largest: list[AttributedRecord]
    drawn: list[AttributedRecord] = []
    rank_correlation: Number | None = None
    idle: int = 0
    withheld: str = ""
