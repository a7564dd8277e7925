"""Circuits: the words that make edges and sets, and the verbs that run a model on a set alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from causaldsl.vocabulary.base import Change, Maker, Operand, Pure
from causaldsl.vocabulary.register import function, intervention, maker
from causaldsl.vocabulary.types import EdgeType, NumberType, SetType


@maker
class EdgeWord(Maker):
    """One edge: what a component writes, as far as another one reads it.

    It starts at `embed`, a head's z or an MLP's output, and ends at a head's query, key or value,
    at what an MLP reads or at the logits; it is there at every position.
    """

    word = "edge"
    gives = EdgeType()
    operands = (Operand("sender", "end"), Operand("receiver", "end"))
    example = "edge(head[9.1].z, head[11.2].q)"


@maker
class ReadCircuit(Maker):
    """The edges, or nodes where it has no edges, of a circuit file of EAP-IG and MIB (JSON).

    The file that a run writes of a circuit of nodes gives these nodes again.
    Heads that share keys and values share the edges to these: the file must agree on them.
    """

    word = "read_circuit"
    gives = SetType()
    operands = (Operand("file", "text"),)
    example = 'read_circuit("ioi.json")'


@maker
class RandomLike(Maker):
    """A random set, as large as another one: a control for a circuit.

    It has as many heads and as many MLPs, or as many edges between components of the same kinds,
    drawn from all of the model's; with `by: layer`, as many of each kind in each layer.
    """

    word = "random_like"
    gives = SetType()
    operands = (Operand("set", "nodes"),)
    example = "random_like(c, seed: 1)"
    seed: int = Field(0, ge=0, lt=2**31)
    by: Literal["kind", "layer"] = "kind"


class CircuitVerb(Change):
    """What both verbs have in common; neither becomes an operation of its own."""

    runs = "edits"
    sides = ("source",)
    operands = (
        Operand("set", "nodes"),
        Operand("else", "outside", keyword=True),
        Operand("over", "nodes", keyword=True, required=False),
    )


@intervention
class Only(CircuitVerb):
    """Run the model on a circuit alone: all outside it has other values, at every position.

    `only c else source`, `else mean`, `else mean(PAIRS.base)` or `else zero`. Of nodes, everything
    of the kinds that the set has (or that `over` names, as `over {heads, mlps}`) and that is not in
    it gets the outside value; what is in it is computed from what is left. Of edges, each receiver
    reads the sum of what senders write now, where the edge is in the set, and of the outside values
    for all other edges.
    """

    word = "only"
    example = "only c else source"


@intervention
class Without(CircuitVerb):
    """Run the model without a circuit: what is in the set has other values, at every position.

    `without c else source`, `else mean`, `else mean(PAIRS.base)` or `else zero`: the other half of
    `only`. `without heads else mean` is the empty circuit over heads.
    """

    word = "without"
    example = "without c else mean"


@function
class Area(Pure):
    """The area under a metric over circuits of growing size: area(sweep.faithfulness).

    By trapezoids over the share of edges (or nodes) that is in each cell's circuit, from the
    smallest one on, as in MIB (Mueller et al. 2025): of `faithfulness` it is CPR. With `to: 1` it
    is the area between the metric and 1, which is CMD. Where no cell has the whole model, its own
    faithfulness of 1 is the last point.
    """

    word = "area"
    gives = NumberType()
    operands = (Operand("of", "numbers"),)
    computed = ("shares",)
    shares: tuple[float, ...] = ()
    to: float | None = None
