"""What runs the model: interventions, arms, and what is asked of traces, attributions and texts."""

from __future__ import annotations

from collections.abc import Iterator

from causaldsl.syntax.ast.expressions import Expression, Number
from causaldsl.syntax.ast.nodes import Identifier, Node


class Clause(Node):
    """``along v``: any word, and what it says of an intervention."""

    word: str
    value: Expression


class Intervention(Node):
    verb: Identifier
    site: Expression
    clauses: tuple[Clause, ...]


class Interventions(Node):
    """Interventions in force at once, joined by ``+`` or ``then``, which ``joints`` has in order.

    An expression stands for a path or a run by name.
    """

    parts: tuple[Intervention | Chain | Expression, ...]
    joints: tuple[str, ...] = ()

    def joined(self) -> Iterator[tuple[str, Intervention | Chain | Expression]]:
        """Every part with what stands before it; ``+`` before the first."""
        yield from zip(("+", *self.joints), self.parts, strict=True)


class PolicyItem(Node):
    word: Identifier
    choice: Identifier


class Policy(Node):
    """``{ freeze attention  layernorm recompute }``"""

    items: tuple[PolicyItem, ...]


class Chain(Node):
    """``sender -> receivers -> ... -> logits { policy }``"""

    sender: Interventions
    stages: tuple[Expression, ...]
    policy: Policy | None


class Arm(Node):
    name: Identifier
    interventions: Interventions


class NumberArm(Node):
    name: Identifier
    value: Expression


class Projection(Node):
    """``name = direction at site``, with interventions in force or none."""

    name: Identifier
    direction: Expression
    site: Expression
    interventions: Interventions | None


class Report(Node):
    metrics: tuple[Identifier, ...]


class NewTokens(Node):
    """How many tokens a model may write: a number, or the name of one."""

    value: str


class Sampling(Node):
    """``temperature 0.7``, ``top_k 50``, ``seed 1``."""

    name: str
    value: str


class TextMetric(Node):
    """What is reported of texts, perhaps under a name: ``weddings = count([..])``."""

    name: Identifier | None
    metric: Expression


class ReportTexts(Node):
    metrics: tuple[TextMetric, ...]


class Binding(Node):
    name: Identifier
    values: Expression


class TraceItem(Node):
    """What stands in the braces of ``trace``."""


class Through(TraceItem):
    """The components that a trace looks at: ``heads``, ``mlps[20..29]``."""

    components: tuple[Expression, ...]


class Top(TraceItem):
    count: Number


class TracedAt(TraceItem):
    positions: tuple[str, ...]


class AttributionItem(Node):
    """What stands in the braces of ``attribution``."""


class Over(AttributionItem):
    """What is attributed to: ``heads.z``, ``mlps``, ``mlp_hidden[20] @ END``."""

    sites: tuple[Expression, ...]


class Edges(AttributionItem):
    """Attribute to the edges between the components, and not to these."""

    word: str


class Steps(AttributionItem):
    count: Number


class Integrate(AttributionItem):
    """What is moved from base to source where there are several steps."""

    what: Identifier


class SplitBy(AttributionItem):
    """``by neuron``: the coordinates of a site one by one."""

    what: Identifier


class CheckSample(AttributionItem):
    """How many are measured exactly."""

    count: Number
