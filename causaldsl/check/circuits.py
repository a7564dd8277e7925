"""Circuits: `only c else source` and `without c else mean`, of nodes or of edges.

A circuit of nodes is a run in which every node outside it has another value: interventions, one for
each. A circuit of edges is a run in which every receiver reads a sum of its own; what it takes from
elsewhere is given by interventions at the senders, which are carried along the edges outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from causaldsl.check.apply import apply_at
from causaldsl.check.context import Context
from causaldsl.check.measurements import Run
from causaldsl.check.nodes import KINDS, members_of, nodes_of
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place, Point, PositionRef
from causaldsl.check.runs import from_elsewhere, own_values
from causaldsl.check.sets import Members
from causaldsl.check.unknown import unknown
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Label, Span, wrong
from causaldsl.model.edges import Edge, Wiring, wiring_of, without_edges
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site, all_sites
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.circuits import CircuitVerb, Only
from causaldsl.vocabulary.interventions import Ablate, Patch

ALL = PositionRef(Point("all", 0))
Part: TypeAlias = "Place | Edge"


@dataclass(frozen=True)
class CheckedCircuit(CheckedPath):
    """A run on a circuit: what is ``inside`` keeps its own values, ``size`` of ``universe`` parts.

    Of nodes, the ``sender`` are the interventions outside. Of edges, ``carried`` are those at the
    senders, and ``wiring`` the edges along which their values go. ``nothing`` is the same run with
    the whole universe outside. ``over`` says what the universe is, ``outside`` what is there
    instead; ``named``: the program itself says what it is over.
    """

    inside: tuple[Part, ...] = ()
    size: int = 0
    universe: int = 0
    over: str = ""
    outside: str = ""
    named: bool = False
    carried: tuple[Applied, ...] = ()
    wiring: Wiring | None = None
    nothing: CheckedCircuit | None = field(default=None, compare=False, repr=False)

    kind = "a circuit"

    @property
    def changes(self) -> tuple[Applied, ...]:
        return self.sender or self.carried

    @property
    def further(self) -> str:
        return str(self.wiring or "")

    @property
    def fraction(self) -> float:
        """The share of the universe that is in the circuit."""
        return self.size / self.universe

    @property
    def of_kinds(self) -> bool:
        """Whether what it is over are all parts of some kinds, and not some that are named."""
        return not self.named


def is_circuit(context: Context, node: ast.Node) -> bool:
    """Whether a part of what a run does is a circuit."""
    verbs = context.words.interventions
    cls = verbs.get(node.verb.text) if isinstance(node, ast.Intervention) else None
    return cls is not None and issubclass(cls, CircuitVerb)


def circuit(context: Context, node: ast.Intervention) -> CheckedCircuit:
    """What `only` or `without` does, whatever pairs it will be done on."""
    cls = context.words.interventions[node.verb.text]
    clauses = _clauses(cls, node)
    named = members_of(context, node.site)
    over = members_of(context, clauses["over"].value) if "over" in clauses else None
    keeps = issubclass(cls, Only)
    if named.of == "edges":
        return _of_edges(context, node, named, over, clauses["else"], keeps)
    return _of_nodes(context, node, named, over, clauses["else"], keeps)


def _clauses(cls: type[Word], node: ast.Intervention) -> dict[str, ast.Clause]:
    found: dict[str, ast.Clause] = {}
    known = [operand.name for operand in cls.operands if operand.keyword]
    for clause in node.clauses:
        if clause.word not in known:
            message = f"`{cls.word}` has no option `{clause.word}`"
            raise wrong("unknown-option", message, clause.span, f"write {cls.signature()}")
        if clause.word in found:
            raise wrong("option-twice", f"`{clause.word}` is given twice", clause.span, "once")
        found[clause.word] = clause
    if "else" not in found:
        raise wrong(
            "missing-operand",
            f"`{cls.word}` does not say what is outside the circuit",
            node.span,
            "write `else source`, `else mean`, `else mean(PAIRS.base)` or `else zero`",
        )
    return found


def _of_nodes(
    context: Context,
    node: ast.Intervention,
    named: Members,
    over: Members | None,
    outside: ast.Clause,
    keeps: bool,
) -> CheckedCircuit:
    mine = nodes_of(named, node.site)
    where = list(dict.fromkeys(place.position or ALL for place in mine))
    if len(where) > 1 and ALL in where:
        message = "a circuit is at every position, or at those that it names"
        raise wrong("mixed-set", message, node.site.span, "write `@` behind all of it, or none")
    if over is None:
        kinds = {place.site.kind for place in mine} | named.among & KINDS.keys()
        every = [site for site in all_sites(named.shapes) if site.kind in kinds]
        said = ", ".join(KINDS[kind] for kind in KINDS if kind in kinds)
    else:
        clause = next(c for c in node.clauses if c.word == "over")
        every, said = [p.site for p in _without_positions(over, clause)], show(clause.value)
    there = [Place(place.site, place.position or ALL, node.site.span) for place in mine]
    known = not unknown(context, node)
    missing = [place for place in there if place.site not in set(every)]
    if missing and known:
        message = f"{missing[0].site} is in the circuit and not in what it is `over`"
        raise wrong("not-a-member", message, node.span, "let `over` name all kinds of the circuit")
    chosen = over is None and {"head.z", "attn_out"} <= named.among
    _check_nested([*(place.site for place in mine if known), *every], node, chosen)
    universe = [Place(site, at, node.site.span) for at in where for site in every]
    listed = set(there)
    inside = tuple(place for place in universe if (place in listed) == keeps)
    out = [place for place in universe if (place in listed) != keeps]
    done = dict(zip(universe, _values(context, node, outside, universe), strict=True))

    def run(some: Iterable[Place], kept: tuple[Place, ...]) -> CheckedCircuit:
        return CheckedCircuit(
            tuple(done[place] for place in some), (), "none", "recompute", show(node), node.span,
            kept, len(kept), len(universe), said, show(outside.value), over is not None,
        )  # fmt: skip

    return replace(run(out, inside), nothing=run(universe, ()))


def _check_nested(every: Sequence[Site], node: ast.Intervention, chosen: bool) -> None:
    """A head is a part of its attention layer: as two nodes it would be both in and outside.

    Of a set that is ``chosen`` from both, one kind may be there alone.
    """
    layers = {site.layer for site in every if site.kind == "attn_out"}
    both = next((site for site in every if site.kind == "head.z" and site.layer in layers), None)
    if both is not None:
        raise wrong(
            "nested-nodes",
            f"head {both.layer}.{both.head} is a part of attn_out[{both.layer}], so that they "
            "can't both be nodes of one circuit",
            node.span,
            "say which of both it is over, such as `over heads`"
            if chosen
            else f"write heads[{both.layer}] for all heads of that layer",
        )


def check_circuit_on(circuit: CheckedCircuit, pairs: PairSet, use: Span) -> None:
    """What is outside has other values than the base of these pairs has there itself."""
    if circuit.changes and all(own_values(change, pairs) for change in circuit.changes):
        raise wrong(
            "circuit-of-base",
            f"all that is outside this circuit gets `{circuit.outside}`, its own values, so that "
            "the whole model runs",
            use,
            "write `else source`, `else mean`, `else mean(PAIRS.base)` or `else zero`",
        )


def _without_positions(over: Members, clause: ast.Clause) -> tuple[Place, ...]:
    """What a circuit is over, which is at the circuit's own positions."""
    found = nodes_of(over, clause)
    if any(place.position is not None for place in found):
        message = "`over` names components, which are left out at the positions of the circuit"
        raise wrong("mixed-set", message, clause.span, "write `@` behind the circuit: only c @ END")
    return found


def _of_edges(
    context: Context,
    node: ast.Intervention,
    named: Members,
    over: Members | None,
    outside: ast.Clause,
    keeps: bool,
) -> CheckedCircuit:
    shapes, mine = named.shapes, [member.edge for member in named.members]
    if over is not None:
        message = "a circuit of edges is one of all edges of the model"
        raise wrong("unknown-option", message, node.span, "leave out `over`")
    why = without_edges(shapes)
    if why:
        raise wrong("no-edges", why, node.site.span, "use a circuit of nodes: heads, mlps")
    whole, listed = wiring_of(None, shapes), wiring_of(mine, shapes)
    out = whole.without(listed) if keeps else listed
    inside = mine if keeps else list(whole.without(listed).edges(shapes))

    def run(wiring: Wiring, kept: Sequence[Edge]) -> CheckedCircuit:
        sent = [Place(site, ALL, node.site.span) for site in sent_from(wiring, shapes)]
        carried = _values(context, node, outside, sent) if sent else ()
        return CheckedCircuit(
            (), (), "none", "recompute", show(node), node.span, tuple(kept), len(kept),
            whole.count, "edges", show(outside.value), False, carried, wiring,
        )  # fmt: skip

    return replace(run(out, inside), nothing=run(whole, ()))


def sent_from(wiring: Wiring, shapes: ModelDims) -> list[Site]:
    """Where the senders of some edges are seen: what `embed` sends enters the first block."""
    return [
        Site("resid_pre", 0) if sender.kind == "embed" else sender
        for sender in wiring.senders(shapes)
    ]


def _values(
    context: Context, node: ast.Intervention, outside: ast.Clause, places: Sequence[Place]
) -> tuple[Applied, ...]:
    """The interventions that put outside values in at some places."""
    value = outside.value
    to = value.text if isinstance(value, ast.Name) and not context.knows(value.text) else ""
    if to in ("zero", "mean"):
        given = [(ast.Identifier(outside.span, "to"), value)]
        return apply_at(context, Ablate, places, given, node)
    _check_origin(context, outside)
    clause = ast.Clause(outside.span, "from", value)
    return from_elsewhere(context, Patch, replace(node, clauses=(clause,)), places)


def _check_origin(context: Context, outside: ast.Clause) -> None:
    """A name that means nothing is most likely a misspelt word."""
    value = outside.value
    if isinstance(value, ast.Number):
        raise wrong(
            "wrong-kind",
            f"`{show(value)}` is no value of what is outside a circuit",
            value.span,
            "write `else source`, `else mean`, `else mean(PAIRS.base)` or `else zero`",
        )


def circuit_of(run: Run) -> CheckedCircuit | None:
    """The circuit that a run is on, if it is on one."""
    (part, *_) = (*run.interventions, None)
    return part if isinstance(part, CheckedCircuit) else None


def empty_circuits(runs: Iterable[Run]) -> Iterator[Run]:
    """Runs on circuits, with nothing left inside."""
    for run in runs:
        found = circuit_of(run)
        if found is not None and found.nothing is not None:
            yield replace(run, interventions=(found.nothing,))


def check_circuits(
    context: Context, runs: Iterable[Run], metrics: Iterable[str], report: Span
) -> None:
    """What needs a circuit is measured on circuits alone."""
    known = context.words.metrics
    wanted = next((metric for metric in metrics if known[metric].of_empty), None)
    for run in runs:
        if wanted is not None and run.interventions and circuit_of(run) is None:
            raise wrong(
                "not-a-circuit",
                f"`{wanted}` is that of a circuit, and `{run.arm or run.label}` is none",
                report,
                "write `only SET else source` in every arm, or report another metric",
                [Label(run.span, "no circuit")],
            )
