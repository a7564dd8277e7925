"""Attributions against raw autograd with hooks on the transformers module, in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.check.attributed import CheckedAttribution, Node
from causaldsl.engine.attribution.found import Attributed
from causaldsl.model.edges import Edge
from causaldsl.model.sites import Site
from tests.families import oracle
from tests.families.arms import Case, indices
from tests.families.bench import BACKENDS, Bench, Ran, bench
from tests.families.oracle import Held, Place

FAMILIES = ("llama", "gpt2", "gpt_neox", "granite", "falcon")
"""Grouped queries; layer norms; parallel blocks; multipliers; one key-value head."""
ON_HOOKS = ("llama", "gpt_neox")
SHARED = ("llama", "granite", "falcon", "gemma2")
CLOSE = 1e-6
ALL = Held(attention=True, mlp=True)
SITES = """
attribution sites to logit_diff on flip.test { over heads, mlps  check 5 }
attribution others to logit_diff on flip.test {
  over embed, resid_post[1] @ {S2, END}, attn_out[2], heads[1].q, KV[2].k @ S2
}
attribution cells to prob on flip.test { over mlp_hidden[1] @ END by neuron }
attribution inputs to logit_diff on flip.test { over heads, mlps  steps 3 }
attribution own to loss on flip.test { over heads[1..2], mlps  steps 3  integrate activations }
"""
EDGES = """
attribution ways to logit_diff on flip.test { edges  check 8 }
attribution some to logit_diff on flip.test { over heads[1..2], mlps  edges  steps 2 }
"""


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    name: str = request.param
    found = bench(tmp_path_factory.mktemp(name), name)
    found.prelude = found.prelude.replace("test 4", "test 2")
    return found


def program(name: str, text: str) -> str:
    return text.replace("KV", "kv_heads" if name in SHARED else "heads")


@pytest.fixture(scope="module", params=BACKENDS)
def ran(request: pytest.FixtureRequest, made: Bench) -> Ran:
    if request.param == "hooks" and made.name not in ON_HOOKS:
        pytest.skip("on hooks two families are enough: how heads share, and blocks side by side")
    return made.run(program(made.name, SITES + EDGES), request.param)


def place_of(site: Site) -> Place:
    return site.kind, site.layer, site.head


class ByHand:
    """A metric's gradients by torch on the transformers module, pair by pair."""

    def __init__(self, made: Bench, ran: Ran, metric: str):
        self.model, self.cases, self.metric = made.model, made.pairs(ran, "flip.test"), metric
        self.seen: dict[Any, Tensor] = kept(made, "seen", dict)

    def value(self, case: Case, edits: Sequence[Any], held: Held | None = None) -> Tensor:
        found = oracle.logits(self.model, torch.tensor([case.base]), edits, held)[0]
        if self.metric == "logit_diff":
            return found[case.answer] - found[case.foil]
        log_prob = found.log_softmax(-1)[case.answer]
        return log_prob.exp() if self.metric == "prob" else -log_prob

    def read(self, case: Case, place: Place, side: str) -> Tensor:
        tokens = getattr(case, side)
        if (tokens, place) not in self.seen:
            (found,) = oracle.read(self.model, torch.tensor([tokens]), [place])
            self.seen[tokens, place] = found[0]
        return self.seen[tokens, place]

    def change(self, case: Case, place: Place) -> Tensor:
        """Source minus base (T, d), token by token."""
        return self.read(case, place, "source") - self.read(case, place, "base")

    def gradients(
        self, case: Case, places: Iterable[Place], moved: Mapping[Place, Tensor]
    ) -> dict[Place, Tensor]:
        """d metric / d activation (T, d) at each place, in a run with something added."""
        leaves: dict[Place, Tensor] = {}

        def leaf(place: Place) -> Any:
            def change(x: Tensor) -> Tensor:
                leaves[place] = torch.zeros_like(x, requires_grad=True)
                return x + leaves[place] + moved.get(place, 0.0)

            return change

        places = dict.fromkeys(places)
        value = self.value(case, [(place, leaf(place)) for place in {**places, **moved}])
        found = torch.autograd.grad(value, [leaves[place] for place in places])
        return {place: each[0] for place, each in zip(places, found, strict=True)}

    def site(self, case: Case, node: Node, gradient: Tensor) -> float:
        """The estimate of one site: its own change times a gradient, at its positions."""
        place, where = place_of(node.place.site), str(node.place.position)
        there = (
            self.read(case, place, side)[indices(where, named, len(getattr(case, side)))]
            for side, named in (("source", case.source_at), ("base", case.base_at))
        )
        source, base = there
        at = indices(where, case.base_at, len(case.base))
        product = (source - base) * gradient[at]
        return float(product.sum() if node.neuron is None else product[:, node.neuron].sum())

    def path(self, case: Case, edge: Edge) -> float:
        """d metric / d e, where e times the sender's change reaches the receiver alone: all else is
        held, as on a path."""
        sender, receiver = _sender(edge), place_of(edge.receiver)
        e = torch.zeros((), dtype=torch.float64, requires_grad=True)
        sent, heard = self.change(case, sender), []

        def send(x: Tensor) -> Tensor:
            return x + e * sent

        def hear(x: Tensor) -> Tensor:
            heard.append(x)
            return x

        tokens = torch.tensor([case.base])
        if receiver[0] == "logits":
            value = self.value(case, [(sender, send)], ALL)
        else:
            oracle.logits(self.model, tokens, [(sender, send), (receiver, hear)], ALL)
            value = self.value(case, [(receiver, lambda _: heard[0])])
        (found,) = torch.autograd.grad(value, e)
        return float(found)

    def edge(self, case: Case, edge: Edge, share: float, stream: Place) -> float:
        """The same in a run whose embeddings have gone a share of the way to the source's: the
        receiver alone sees the stream with e times what the sender writes added."""
        sender, receiver = _sender(edge), place_of(edge.receiver)
        sent, heard = self.change(case, sender), []
        if edge.sender.kind == "head.z":
            sent = sent @ self.model.W_O(edge.sender.layer, edge.sender.head)
            sent = sent * self.model.multiplier
        e = torch.zeros((), dtype=torch.float64, requires_grad=True)
        begun = [(EMBED, lambda x: x + share * self.change(case, EMBED))]

        def hear(x: Tensor) -> Tensor:
            heard.append(x)
            return x

        sends = [(stream, lambda x: x + e * sent)]
        value = self.value(case, [*begun, *sends, (receiver, hear)])
        if receiver[0] != "logits":
            value = self.value(case, [*begun, (receiver, lambda _: heard[0])])
        (found,) = torch.autograd.grad(value, e)
        return float(found)


def _sender(edge: Edge) -> Place:
    return ("resid_pre", 0, None) if edge.sender.kind == "embed" else place_of(edge.sender)


EMBED: Place = ("embed", None, None)


def of_sites(by: ByHand, of: CheckedAttribution) -> Tensor:
    """The estimates (n, c) in a loop over pairs and steps."""
    nodes = [node for node in of.nodes if isinstance(node, Node)]
    places = list(dict.fromkeys(place_of(node.place.site) for node in nodes))
    rows = []
    for case in by.cases:
        total = [0.0] * len(nodes)
        for step in range(of.steps):
            share = step / of.steps
            if of.integrate == "inputs":
                moved = {EMBED: share * by.change(case, EMBED)} if step else {}
                gradients = by.gradients(case, places, moved)
            else:
                gradients = {}
                for alike in {place[:2] for place in places}:
                    mine = [place for place in places if place[:2] == alike]
                    moved = {place: share * by.change(case, place) for place in mine}
                    gradients |= by.gradients(case, mine, moved)
            for i, node in enumerate(nodes):
                total[i] += by.site(case, node, gradients[place_of(node.place.site)])
        rows.append([value / of.steps for value in total])
    return torch.tensor(rows, dtype=torch.float64)


def same(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert bool(wanted.any())
    assert (found - wanted).abs().max() <= CLOSE * wanted.abs().max()


def kept(made: Bench, name: str, make: Any) -> Any:
    """What is worked out by hand, once for both backends."""
    known = made.__dict__.setdefault("by_hand", {})
    if name not in known:
        known[name] = make()
    return known[name]


@pytest.mark.parametrize("name", ["sites", "others", "cells", "inputs", "own"])
def test_sites_are_their_change_times_the_gradient(made: Bench, ran: Ran, name: str) -> None:
    of = ran.program.attributions[name]
    found: Attributed = ran.value(name)
    wanted = kept(made, name, lambda: of_sites(ByHand(made, ran, of.metric), of))
    same(found.estimates, wanted)


def test_edges_are_the_slope_of_their_path(made: Bench, ran: Ran) -> None:
    """Those that were drawn, and some of every kind of receiver, against the derivative of the path
    itself."""
    of, found = ran.program.attributions["ways"], ran.value("ways")
    chosen = [*dict.fromkeys([*of.drawn, *one_of_each(of)])]

    def by_hand() -> Tensor:
        by = ByHand(made, ran, of.metric)
        rows = [[by.path(case, edge_of(of, i)) for i in chosen] for case in by.cases]
        return torch.tensor(rows, dtype=torch.float64)

    same(found.estimates[:, chosen], kept(made, "ways", by_hand))
    assert len(found.estimates[0]) == len(of.nodes)


def test_edges_over_steps_are_a_loop(made: Bench, ran: Ran) -> None:
    of, found = ran.program.attributions["some"], ran.value("some")
    chosen, shapes = one_of_each(of), ran.session.loaded.spec.shapes

    def stream(edge: Edge) -> Place:
        site = edge.receiver
        if site.layer is None:
            return "resid_post", shapes.n_layers - 1, None
        middle = site.kind == "mlp_in" and not shapes.parallel
        return "resid_mid" if middle else "resid_pre", site.layer, None

    def by_hand() -> Tensor:
        by, edges = ByHand(made, ran, of.metric), [edge_of(of, i) for i in chosen]
        steps = [
            [[by.edge(case, edge, share, stream(edge)) for edge in edges] for case in by.cases]
            for share in (0.0, 0.5)
        ]
        return torch.tensor(steps, dtype=torch.float64).mean(0)

    same(found.estimates[:, chosen], kept(made, "some", by_hand))


def edge_of(of: CheckedAttribution, i: int) -> Edge:
    edge = of.nodes[i]
    assert isinstance(edge, Edge)
    return edge


def one_of_each(of: CheckedAttribution) -> list[int]:
    """The last edge between components of each two kinds."""
    kinds = {}
    for i in range(len(of.nodes)):
        edge = edge_of(of, i)
        kinds[edge.sender.kind, edge.receiver.kind] = i
    return list(kinds.values())


def test_exact_effects_are_those_that_measures_find(made: Bench, ran: Ran) -> None:
    """What is drawn is patched like any site or path of a program."""
    for name in ("sites", "ways"):
        of, found = ran.program.attributions[name], ran.value(name)
        arms = [f"a{i} = {run.label}" for i, run in enumerate(of.runs)]
        text = "measure m on flip.test {\n" + "\n".join(arms) + "\nreport logit_diff }"
        other = made.run(text, ran.session.settings.backend)
        for i in range(len(arms)):
            columns, _ = other.arm("m", f"a{i}")
            own = columns["logit_diff"] - found.clean
            assert torch.allclose(found.exact[:, i], own, atol=1e-9)
        record = ran.results.attributions[name]
        assert [one.name for one in record.drawn] == [str(of.nodes[i]) for i in of.drawn]
        assert record.rank_correlation is not None
        assert record.rank_correlation.mean == pytest.approx(by_ranks(record.drawn))


def by_ranks(drawn: Sequence[Any]) -> float:
    """Spearman's correlation of numbers that are all different: 1 - 6 sum d^2 / (k (k^2 - 1))."""
    estimates = [one.estimate.mean for one in drawn]
    exact = [one.exact.mean for one in drawn]
    ranks = [[sorted(side).index(value) for value in side] for side in (estimates, exact)]
    k = len(drawn)
    return 1 - 6 * sum((a - b) ** 2 for a, b in zip(*ranks, strict=True)) / (k * (k * k - 1))
