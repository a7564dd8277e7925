"""What carries the effect of interventions I on a metric M, in exact patches.

With c the clean base runs, x_C the output of component C in a run, and everything per pair::

    total        TE     = M(I) - M(c)
    mediated     ME_C   = M(I) - M(I, x_C := c_C)              what is lost when C is held at clean
    edge A -> B         = M(c, x_B := B's output when only A's change reaches its input) - M(c)
    edge A -> logits    = M(c, logits that see only A's change) - M(c)
    natural             the same edge with A's own natural change instead of that under I
    explained    share  = (M(every component sees the shown edges into it alone) - M(c)) / TE

"Only A's change" is a run with A at its value under I and every other head and MLP held at clean;
layer norms are recomputed. For the intervention itself as a sender, I is in force. Mediated
effects of components in a row overlap and need not add up to TE; neither need edges.

The natural change of the intervened component is its whole own change from base to source. That of
a component further on is how it changes when all that the residual stream naturally carries at that
place changes: the stream is the source's, right behind the intervened component. (Its output in the
source itself says less: where prompts share names, a name mover writes the same name in both, and
still moves another one when it gets the source's signal in the base.)

An edge is dormant if it carries at least 5% of TE under I, with an interval without 0, and
naturally less than a fifth of that, or the opposite; or the other way round. It shows a pathway
that the data do not use, which is evidence and no proof of an illusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from causaldsl.engine.bootstrap import Bootstrap, Estimate
from causaldsl.engine.drawn import mean, ratio
from causaldsl.engine.tracing.runner import Runner, Setting, Values
from causaldsl.plan.components import Component
from causaldsl.plan.freeze import Freeze

CARRIES = 0.05
"""Share of the total effect from which an edge counts as carrying some."""
SILENT = 0.2
"""An edge whose one effect is below this share of the other is silent there."""
SHOWN = 0.02
"""Edges with a smaller share of the total are left out of the picture, unless they are dormant."""
POLICY = "freeze all, layernorm recompute"

Asleep = Literal["", "data", "intervention", "opposite"]
"""Where a dormant edge carries nothing; or that it does in both, and in opposite ways."""

Sender = Component | None
"""None stands for the interventions themselves; as a receiver, for the logits."""


@dataclass(frozen=True)
class Edge:
    sender: Sender
    receiver: Sender
    effect: Estimate
    natural: Estimate
    share: float
    natural_share: float
    asleep: Asleep
    shown: bool

    @property
    def dormant(self) -> bool:
        return bool(self.asleep)


@dataclass(frozen=True)
class Mediated:
    """The effect that is lost when a component is held at clean, and its share of the total."""

    effect: Estimate
    share: Estimate


@dataclass(frozen=True)
class Traced:
    """``by_name`` has components with all their positions held together."""

    clean: Estimate
    total: Estimate
    explained: Estimate
    mediated: dict[Component, Mediated]
    by_name: dict[str, Mediated]
    top: list[Component]
    edges: list[Edge]
    has_shares: bool
    """False where the total effect is nothing, so that there are no shares of it."""
    by_pair: dict[tuple[str, str], Tensor]
    """What all of it is a mean or a ratio of means of, (n,), by arm and metric: `logit_diff` of
    `clean`, `patched` and `explained`, `whole` (what shares are of), `mediated` for a component's
    id or name, `effect` and `natural` for an edge, `20.0@END -> logits`."""

    @property
    def dormant(self) -> int:
        return sum(edge.dormant for edge in self.edges)


@dataclass(frozen=True, eq=False)
class Case:
    """What a trace is made of.

    ``on`` are the interventions, ``naturally`` their whole sites with the values of the sources,
    ``stream`` the residual stream right behind them with those of the sources; ``base`` has every
    component's clean output; ``at_end`` says which components, and ``itself_at_end`` whether the
    interventions, write where the logits are read. A total effect up to ``rounding``, relative to
    the logit differences, is none: shares of it are 0, and no edge is dormant.
    ``parallel`` says that an MLP reads what the heads beside it read.
    """

    on: list[Setting]
    naturally: list[Setting]
    stream: list[Setting]
    components: list[Component]
    base: dict[Component, Values]
    at_end: Callable[[Component], bool]
    itself_at_end: bool
    top: int
    rounding: float
    parallel: bool


class Tracer:
    def __init__(
        self,
        runner: Runner,
        case: Case,
        bootstrap: Bootstrap,
        progress: Callable[[str, int, int], None],
    ):
        self.runner, self.case, self.bootstrap = runner, case, bootstrap
        self.progress = progress
        self.by_pair: dict[tuple[str, str], Tensor] = {}
        self.clean = runner.logit_diff([])
        self.on = runner.logit_diff(case.on)
        self.total = self.on - self.clean
        size = max(1.0, float(self.clean.abs().max()), float(self.on.abs().max()))
        self.nothing = case.rounding * size
        # What shares are of: without pairs whose total is rounding, and 0 if the mean is.
        self.whole = torch.where(self.total.abs() > self.nothing, self.total, 0.0)
        if abs(float(self.whole.mean())) <= self.nothing:
            self.whole = torch.zeros_like(self.total)
        self.changed, self.natural = (
            dict(zip(case.components, recorded, strict=True))
            for recorded in runner.record([case.on, case.stream], [c.at for c in case.components])
        )

    def trace(self) -> Traced:
        mediated = self._mediated()
        by_size = sorted(mediated, key=lambda c: -self._size(mediated[c]))
        top = sorted(by_size[: self.case.top], key=lambda c: (c.depth, c.head, c.column))
        edges = self._edges(top)
        explained = self._explained(top, [edge for edge in edges if edge.shown])
        by_name = self._by_name(mediated)
        logit_diffs = {"clean": self.clean, "patched": self.on, "explained": explained}
        arms = {(arm, "logit_diff"): values for arm, values in logit_diffs.items()}
        by_pair = {**arms, ("patched", "whole"): self.whole, **self.by_pair}
        return _traced(self.bootstrap, by_pair, mediated, by_name, top, edges)

    def _size(self, mediated: Mediated) -> float:
        """How much a component mediates; where it is nothing but rounding, 0."""
        size = abs(mediated.effect.mean)
        return size if size > self.nothing else 0.0

    def _mediated(self) -> dict[Component, Mediated]:
        self.progress("mediated effects", 0, len(self.case.components))
        found = self._held({c.id: [c] for c in self.case.components})
        return dict(zip(self.case.components, found.values(), strict=True))

    def _by_name(self, mediated: dict[Component, Mediated]) -> dict[str, Mediated]:
        """What each component mediates at all positions together, by its name."""
        by_name: dict[str, list[Component]] = {}
        for component in mediated:
            by_name.setdefault(component.name, []).append(component)
        several = {name: same for name, same in by_name.items() if len(same) > 1}
        together = self._held(several)
        return {
            name: together[name] if name in together else mediated[same[0]]
            for name, same in by_name.items()
        }

    def _held(self, sets: Mapping[str, Sequence[Component]]) -> dict[str, Mediated]:
        """The effect that is lost when each of these sets of components is held at clean."""
        held = [[Setting(c.at, self.case.base[c]) for c in some] for some in sets.values()]
        left = self.runner.logit_diffs([[*self.case.on, *settings] for settings in held])
        gone = dict(zip(sets, (self.on - each for each in left), strict=True))
        self.by_pair |= {(name, "mediated"): lost for name, lost in gone.items()}
        return {name: _lost(self.bootstrap, each, self.whole) for name, each in gone.items()}

    def _edges(self, top: list[Component]) -> list[Edge]:
        case, edges = self.case, []
        for done, receiver in enumerate([*top, None]):
            self.progress("edges", done, len(top) + 1)
            senders = [sender for sender in [None, *top] if self._joined(sender, receiver)]
            sent = [self._sent(sender, self.changed, case.on) for sender in senders]
            sent += [self._sent(sender, self.natural, case.naturally) for sender in senders]
            effects = self._paths(sent, receiver)
            for i, sender in enumerate(senders):
                natural = effects[len(senders) + i]
                edges.append(self._edge(sender, receiver, effects[i], natural))
        places = {component: i for i, component in enumerate(top)}
        last = len(top)

        def order(edge: Edge) -> tuple[int, int]:
            sender = -1 if edge.sender is None else places[edge.sender]
            return sender, last if edge.receiver is None else places[edge.receiver]

        return sorted(edges, key=order)

    def _joined(self, sender: Sender, receiver: Sender) -> bool:
        if receiver is None:
            return self.case.itself_at_end if sender is None else self.case.at_end(sender)
        return sender is None or receiver.reads(sender, self.case.parallel)

    def _sent(
        self, sender: Sender, values: dict[Component, Values], itself: list[Setting]
    ) -> list[Setting]:
        return itself if sender is None else [Setting(sender.at, values[sender])]

    def _paths(self, sent: list[list[Setting]], receiver: Sender) -> list[Tensor]:
        """Change of the metric, pair by pair, when the receiver alone sees each of what is sent."""
        if not sent:
            return []
        if receiver is None:
            held = Freeze(attention=True, mlp=True)
            found = self.runner.logit_diffs(sent, held)
        else:
            heard = self.runner.read_alone(sent, receiver.at)
            found = self.runner.logit_diffs([[Setting(receiver.at, values)] for values in heard])
        return [each - self.clean for each in found]

    def _edge(self, sender: Sender, receiver: Sender, effect: Tensor, natural: Tensor) -> Edge:
        name = edge_name(sender, receiver)
        self.by_pair |= {(name, "effect"): effect, (name, "natural"): natural}
        return _edge(self.bootstrap, (sender, receiver), effect, natural, self.whole)

    def _explained(self, top: list[Component], shown: list[Edge]) -> Tensor:
        """The metric when every component sees the shown edges into it, and nothing else."""
        now: dict[Component, Values] = {}

        def into(receiver: Sender) -> list[Setting]:
            senders = [edge.sender for edge in shown if edge.receiver == receiver]
            sent = list(self.case.on) if None in senders else []
            return sent + [Setting(s.at, now[s]) for s in senders if s is not None and s in now]

        for component in top:
            heard = into(component)
            if heard:
                (now[component],) = self.runner.read_alone([heard], component.at)
        last = into(None)
        held = Freeze(attention=True, mlp=True)
        return self.runner.logit_diff(last, held) if last else self.clean


def traced_again(
    bootstrap: Bootstrap,
    components: Sequence[Component],
    top: Sequence[str],
    by_pair: dict[tuple[str, str], Tensor],
) -> Traced:
    """A trace from its numbers by pair and the ids of the components with edges among them."""
    whole = by_pair["patched", "whole"]
    lost = {
        name: _lost(bootstrap, g, whole)
        for (name, what), g in by_pair.items()
        if what == "mediated"
    }
    mediated = {component: lost[component.id] for component in components}
    by_name: dict[str, Mediated] = {}
    for component, own in mediated.items():
        by_name.setdefault(component.name, lost.get(component.name, own))
    by_id = {component.id: component for component in components}
    chosen = [by_id[id] for id in top]
    joined = [(sender, receiver) for sender in (None, *chosen) for receiver in (*chosen, None)]
    edges = [
        _edge(bootstrap, (s, r), by_pair[name, "effect"], by_pair[name, "natural"], whole)
        for s, r in joined
        if ((name := edge_name(s, r)), "effect") in by_pair
    ]
    return _traced(bootstrap, by_pair, mediated, by_name, chosen, edges)


def _traced(
    bootstrap: Bootstrap,
    by_pair: dict[tuple[str, str], Tensor],
    mediated: dict[Component, Mediated],
    by_name: dict[str, Mediated],
    top: list[Component],
    edges: list[Edge],
) -> Traced:
    """With what its numbers by pair say of the whole."""
    clean, patched, explained = (
        by_pair[arm, "logit_diff"] for arm in ("clean", "patched", "explained")
    )
    whole = by_pair["patched", "whole"]
    return Traced(
        mean(bootstrap, clean),
        mean(bootstrap, patched - clean),
        ratio(bootstrap, explained - clean, whole),
        mediated,
        by_name,
        top,
        edges,
        bool(whole.any()),
        by_pair,
    )


def _lost(bootstrap: Bootstrap, lost: Tensor, whole: Tensor) -> Mediated:
    return Mediated(mean(bootstrap, lost), ratio(bootstrap, lost, whole))


def _edge(
    bootstrap: Bootstrap,
    ends: tuple[Sender, Sender],
    effect: Tensor,
    natural: Tensor,
    whole: Tensor,
) -> Edge:
    found, own = bootstrap.mean(effect), bootstrap.mean(natural)
    total = float(whole.mean())
    share = found.mean / total if total else 0.0
    asleep = _asleep(found, own, total)
    return Edge(
        *ends,
        found,
        own,
        share,
        own.mean / total if total else 0.0,
        asleep,
        bool(asleep) or abs(share) >= SHOWN,
    )


def ends(sender: Sender, receiver: Sender) -> tuple[str, str]:
    """What an edge's two ends are called in the results."""
    return "patch" if sender is None else sender.id, "logits" if receiver is None else receiver.id


def edge_name(sender: Sender, receiver: Sender) -> str:
    """An edge in the values by pair: `patch -> 20.0@END`."""
    return " -> ".join(ends(sender, receiver))


def _asleep(effect: Estimate, natural: Estimate, total: float) -> Asleep:
    patched, data = _awake_only(effect, natural, total), _awake_only(natural, effect, total)
    if not patched and not data:
        return ""
    reversed_ = all(one.low * one.high > 0 for one in (effect, natural))
    small, large = sorted((effect.mean, natural.mean), key=abs)
    if reversed_ and small / large <= -SILENT:
        return "opposite"
    return "data" if patched else "intervention"


def _awake_only(here: Estimate, there: Estimate, total: float) -> bool:
    carries = abs(here.mean) >= CARRIES * abs(total) and here.low * here.high > 0
    return total != 0 and carries and there.mean / here.mean < SILENT
