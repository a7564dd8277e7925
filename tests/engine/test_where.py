"""Sets of sites and positions, values from elsewhere, stages: against raw PyTorch hooks.

Each arm of a program is worked out once more by the oracle of `tests/families`, which makes the
edits one by one in whole forward passes, in float64, and on both backends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.check.pairs import Pair
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Pass
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.hooks.backend import HooksBackend
from tests.families import oracle
from tests.families.arms import At, Batch, Case, Reference
from tests.families.bench import BACKENDS, CLOSE, Bench, Ran, by_name

ORDINARY, GROUPED = "gpt2", "llama"
MORE = ("qwen2", "gpt_neox", "gemma2", "gemma3", "gpt_oss", "qwen3")


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    return by_name(tmp_path_factory)


class Wanted:
    """The edits that an arm stands for, in the order in which they act at one place."""

    def __init__(self, ran: Ran, reference: Reference, batch: Batch, pairs: list[Pair]):
        self.ran, self.reference, self.batch, self.pairs = ran, reference, batch, pairs
        self.edits: list[Any] = []

    def put(self, at: At, value: Tensor, basis: Tensor | None = None, add: bool = False) -> Wanted:
        """Set a place to (n, k, d), along a basis (d, r), or add to it."""
        positions = self.batch.at(at.where)
        value = value.expand(*positions.shape, value.shape[-1])
        self.edits.append((at.place, oracle.put(positions, value, basis, add)))
        return self

    def seen(self, at: At, side: str = "base") -> Tensor:
        """(n, k, d) in a clean run."""
        return self.reference.activation(self.batch, at, side)

    def seen_under(self, at: At, edits: list[Any]) -> Tensor:
        """(n, k, d) in the run of the bases with these edits."""
        (found,) = oracle.read(self.reference.model, self.batch.base, [at.place], edits)
        return oracle.gather(found, self.batch.at(at.where))

    def patch(self, at: At, basis: Tensor | None = None) -> Wanted:
        return self.put(at, self.seen(at, "source"), basis)

    def zero(self, at: At, basis: Tensor | None = None) -> Wanted:
        return self.put(at, torch.zeros_like(self.seen(at)), basis)

    def mean(self, at: At, of: Reference | None = None, side: str = "base") -> Tensor:
        """(k, d) over all prompts of one side."""
        of = of or self.reference
        return torch.stack(of.by_pair(lambda batch: of.activation(batch, at, side))).mean(0)

    def of_rows(self, by_pair: list[Tensor]) -> Tensor:
        """Values by pair for the pairs of this batch."""
        return torch.stack([by_pair[row] for row in self.batch.rows])

    def logits(self) -> Tensor:
        return oracle.logits(self.reference.model, self.batch.base, self.edits)


Arms = Mapping[str, Callable[[Wanted], Wanted]]


def apart(one: Bench, text: str, arms: Arms, backend: str) -> list[str]:
    """Where a backend and the oracle differ, a line for each arm of the measure `m`."""
    ran = one.run(text, backend)
    reference = one.reference(ran)
    pairs = list(ran.session.graph.pairs[ran.session.graph.key_of("flip.test")].pairs)
    lines = []
    with torch.no_grad():
        clean = torch.stack(reference.by_pair(lambda b: oracle.logits(one.model, b.base)))
        for name, make in arms.items():
            wanted = torch.stack(
                reference.by_pair(lambda b, m=make: m(Wanted(ran, reference, b, pairs)).logits())
            )
            if (wanted - clean).abs().max() < 1e-6:
                lines.append(f"{name}: changes nothing, so it shows nothing")
            found, served_by = ran.arm("m", name)
            right = reference.logit_diff(wanted)
            error = float((found["logit_diff"] - right).abs().max())
            if not error < CLOSE * max(1.0, float(right.abs().max())):
                lines.append(f"{name}: off by {error:.2g} on {served_by}")
    assert ran.results.measures["m"].keys() == {"clean", *arms}
    return lines


WHERE = """
set movers = {2.0, 2.3}
set rest = heads[1..2] except movers
set ends = {S2, END}
site zs = rest.z
subspace v = random(resid_post[0] @ END, seed: 1)
subspace a_part = random(head[0.0].z @ END, dim: 2, seed: 2)
measure m on flip.test {
  everywhere = ablate resid_post[layers] @ all to zero along v
  several = patch heads[1..2].z @ {S2, END}
  along = patch heads[1..2].z @ ends along a_part
  named = patch movers.z @ ends + ablate zs @ END to mean
  mlps = ablate mlps[1..2] @ END to zero + patch attn_out[{0, 3}] @ S2
  queries = patch head[movers].q @ END
  outputs = patch head[rest].out @ END
  steered = steer resid_post[1..2] @ {S2, END} along v by 3
  every_head = ablate heads.z @ END to zero
  mixed = patch {mlp_out[1] @ END, head[2.1].z @ S2}
  report logit_diff
}
"""
HEADS_1_2 = [(layer, head) for layer in (1, 2) for head in range(4)]
REST = [(layer, head) for layer, head in HEADS_1_2 if (layer, head) not in ((2, 0), (2, 3))]


def each(w: Wanted, does: Callable[[At], Any], *places: At) -> Wanted:
    for at in places:
        does(at)
    return w


def z(heads: list[tuple[int, int]], *where: str, kind: str = "head.z") -> list[At]:
    return [At(kind, layer, head, at) for layer, head in heads for at in where]


WHERE_ARMS: Arms = {
    "everywhere": lambda w: each(
        w,
        lambda at: w.zero(at, w.ran.basis("v")),
        *(At("resid_post", layer, None, "all") for layer in range(4)),
    ),
    "several": lambda w: each(w, w.patch, *z(HEADS_1_2, "S2", "END")),
    "along": lambda w: each(
        w, lambda at: w.patch(at, w.ran.basis("a_part")), *z(HEADS_1_2, "S2", "END")
    ),
    "named": lambda w: each(
        each(w, w.patch, *z([(2, 0), (2, 3)], "S2", "END")),
        lambda at: w.put(at, w.mean(at)),
        *z(REST, "END"),
    ),
    "mlps": lambda w: each(
        each(w, w.zero, At("mlp_out", 1), At("mlp_out", 2)),
        w.patch,
        At("attn_out", 0, None, "S2"),
        At("attn_out", 3, None, "S2"),
    ),
    "queries": lambda w: each(w, w.patch, *z([(2, 0), (2, 3)], "END", kind="head.q")),
    "outputs": lambda w: each(w, w.patch, *z(REST, "END", kind="head.out")),
    "steered": lambda w: each(
        w,
        lambda at: w.put(at, 3 * w.ran.basis("v")[:, 0], add=True),
        *(At("resid_post", layer, None, at) for layer in (1, 2) for at in ("S2", "END")),
    ),
    "every_head": lambda w: each(
        w, w.zero, *z([(layer, head) for layer in range(4) for head in range(4)], "END")
    ),
    "mixed": lambda w: each(w, w.patch, At("mlp_out", 1), At("head.z", 2, 1, "S2")),
}

FROM = """
site x = resid_post[1] @ END
subspace v = random(x, seed: 1)
subspace u = random(x, seed: 2)
subspace both = span(v, u)
run corrupt = base with ablate embed @ S2 to noise by 3 + steer resid_post[0] @ S2 along v by 2
run again = base with corrupt + patch resid_post[2] @ S2
pairs more = visits ABB <-> ABA { test 4  seed 5 }
measure m on flip.test {
  from_base = patch resid_post[0] @ S2 then patch resid_post[2] @ END-1 from base
  restored = corrupt + patch resid_post[2] @ {S2, END} from base
  noised = corrupt
  taken = patch resid_post[1..2] @ END from corrupt
  taken_along = patch x from corrupt along v
  twice = patch resid_post[3] @ END from again
  mean_of = patch x from mean(flip.train.source)
  others = ablate x to mean of flip.train.base at resid_post[0] @ S2
  moved = patch x from source at resid_post[0] @ S2 along v
  moved_base = patch resid_post[2] @ END from base at resid_post[1] @ S2
  by_template = ablate x to mean by template
  amount = steer x along v by 2 * norm(both)
  in_order = patch x then ablate x to zero along v then steer x along u by 2
  other_order = ablate x to zero along v then patch x along both
  same = patch x along v + patch x along both
  noise_along = ablate x to noise by 2 along v
  in_turn_from_others = patch x from more.test.source
  bases_of_others = patch x from more.test.base at resid_post[0] @ S2 along v
  onto_others = corrupt + patch {x, resid_post[2] @ S2} from more.test.source
  report logit_diff
}
"""


def noise(w: Wanted, at: At, by: float, basis: Tensor | None = None) -> Tensor:
    """(n, k, d): the run's own seeded draws, at the size that the oracle says."""
    ours = w.reference.by_pair(lambda b: w.reference.activation(b, at, "base"))
    size = by * torch.cat([value.flatten() for value in ours]).std(correction=0)
    session = w.ran.session
    digest = session.graph.pairs[session.graph.key_of("flip.test")].digest
    generator = session.generator(0, "noise", digest, str(at))
    drawn = [size * torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in ours]
    found = w.of_rows(drawn)
    return found if basis is None else found @ basis @ basis.T


def corrupted(w: Wanted) -> list[Any]:
    """The edits of the run `corrupt`."""
    own = Wanted(w.ran, w.reference, w.batch, w.pairs)
    embed = At("embed", None, None, "S2")
    own.put(embed, noise(w, embed, 3), add=True)
    own.put(At("resid_post", 0, None, "S2"), 2 * w.ran.basis("v")[:, 0], add=True)
    return own.edits


def under(w: Wanted, *does: tuple[At, Tensor]) -> Wanted:
    """In the run `corrupt`, these places set."""
    w.edits += corrupted(w)
    for at, value in does:
        w.put(at, value)
    return w


def resid(layer: int, where: str = "END") -> At:
    return At("resid_post", layer, None, where)


def of_pairs(w: Wanted, name: str) -> Reference:
    graph = w.ran.session.graph
    pairs = graph.pairs[graph.key_of(name)].pairs
    cases = [
        Case(p.base.ids, p.source.ids, p.base.named, p.source.named, p.answer, p.foil)
        for p in pairs
    ]
    return Reference(w.reference.model, cases)


def of_others(w: Wanted, at: At, side: str) -> Tensor:
    """(n, k, d) of the pairs of `more.test` that stand where those of this batch do."""
    of = of_pairs(w, "more.test")
    return w.of_rows(of.by_pair(lambda batch: of.activation(batch, at, side)))


def by_template(w: Wanted) -> Tensor:
    own = w.reference.by_pair(lambda b: w.reference.activation(b, resid(1), "base"))
    templates = [pair.template for pair in w.pairs]
    assert len(set(templates)) > 1
    means = {
        name: torch.stack([v for v, t in zip(own, templates, strict=True) if t == name]).mean(0)
        for name in templates
    }
    return w.of_rows([means[name] for name in templates])


def again(w: Wanted) -> Tensor:
    """What resid_post[3] holds in the run `again`."""
    own = Wanted(w.ran, w.reference, w.batch, w.pairs)
    own.edits += corrupted(w)
    own.patch(resid(2, "S2"))
    return w.seen_under(resid(3), own.edits)


FROM_ARMS: Arms = {
    "from_base": lambda w: w.patch(resid(0, "S2")).put(
        resid(2, "END-1"), w.seen(resid(2, "END-1"))
    ),
    "restored": lambda w: under(w, *((resid(2, at), w.seen(resid(2, at))) for at in ("S2", "END"))),
    "noised": lambda w: under(w),
    "taken": lambda w: each(
        w, lambda at: w.put(at, w.seen_under(at, corrupted(w))), resid(1), resid(2)
    ),
    "taken_along": lambda w: w.put(
        resid(1), w.seen_under(resid(1), corrupted(w)), w.ran.basis("v")
    ),
    "twice": lambda w: w.put(resid(3), again(w)),
    "mean_of": lambda w: w.put(resid(1), w.mean(resid(1), of_pairs(w, "flip.train"), "source")),
    "others": lambda w: w.put(resid(1), w.mean(resid(0, "S2"), of_pairs(w, "flip.train"))),
    "moved": lambda w: w.put(resid(1), w.seen(resid(0, "S2"), "source"), w.ran.basis("v")),
    "moved_base": lambda w: w.put(resid(2), w.seen(resid(1, "S2"))),
    "by_template": lambda w: w.put(resid(1), by_template(w)),
    "amount": lambda w: w.put(resid(1), 2 * 2**0.5 * w.ran.basis("v")[:, 0], add=True),
    "in_order": lambda w: (
        w.patch(resid(1))
        .zero(resid(1), w.ran.basis("v"))
        .put(resid(1), 2 * w.ran.basis("u")[:, 0], add=True)
    ),
    "other_order": lambda w: w.zero(resid(1), w.ran.basis("v")).patch(
        resid(1), w.ran.basis("both")
    ),
    "same": lambda w: w.patch(resid(1), w.ran.basis("both")),
    "noise_along": lambda w: w.put(resid(1), noise(w, resid(1), 2, w.ran.basis("v")), add=True),
    "in_turn_from_others": lambda w: w.put(resid(1), of_others(w, resid(1), "source")),
    "bases_of_others": lambda w: w.put(
        resid(1), of_others(w, resid(0, "S2"), "base"), w.ran.basis("v")
    ),
    "onto_others": lambda w: under(
        w, *((at, of_others(w, at, "source")) for at in (resid(1), resid(2, "S2")))
    ),
}
PROGRAMS = {"where": (WHERE, WHERE_ARMS), "from": (FROM, FROM_ARMS)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "name", [ORDINARY, GROUPED, *(pytest.param(name, marks=pytest.mark.soak) for name in MORE)]
)
def test_the_numbers_are_the_oracles(
    name: str, program: str, backend: str, benches: Callable[[str], Bench]
) -> None:
    assert apart(benches(name), *PROGRAMS[program], backend) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_heads_at_once_take_one_pass(
    backend: str, benches: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All heads of all layers are one arm, which each prompt goes through the model once for."""
    one, passes = benches(GROUPED), list[tuple[int, int]]()
    kind = {"hooks": HooksBackend, "cone": ConeBackend}[backend]
    run = kind.run

    def counted(self: Any, wanted: Pass[Any]) -> Any:
        rows = len(wanted.clean.tokens) if wanted.rows is None else wanted.rows.shape[-1]
        passes.extend((len(edits), rows) for edits in wanted.arms if edits)
        return run(self, wanted)

    monkeypatch.setattr(kind, "run", counted)
    text = "measure m on flip.test { a = ablate heads.z @ END to zero report fldd }"
    n = one.run(text, backend).results.measures["m"]["a"]["fldd"].n
    assert {edits for edits, _ in passes} == {16}
    assert sum(rows for _, rows in passes) == n


def test_subspaces_that_are_not_at_right_angles_are_refused(
    benches: Callable[[str], Bench],
) -> None:
    one = benches(GROUPED)
    text = """
site x = resid_post[1] @ END
subspace v = random(x, seed: 1)
subspace u = random(x, seed: 2)
measure m on flip.test { a = DOES report fldd }
"""
    for does in (
        "patch x along v + ablate x to zero along u",
        "patch x along v + patch x along u",
        "steer x along u by 1 + patch x along v",
    ):
        with pytest.raises(RunFailure, match="not at right angles"):
            one.run(text.replace("DOES", does), "cone")
        one.run(text.replace("DOES", does.replace("+", "then")), "cone")
    one.run(text.replace("DOES", "patch x along v + ablate x to zero along complement(v)"), "cone")


def test_noise_only_scales_with_its_size(benches: Callable[[str], Bench]) -> None:
    """The same draws in every run of a seed, whatever else is in the program."""
    one = benches(GROUPED)
    text = "measure m on flip.test { a = ablate embed @ S2 to noise by 2  report logit_diff }"

    def found(text: str) -> Tensor:
        columns, _ = one.run(text, "cone").arm("m", "a")
        return columns["logit_diff"]

    first = found(text)
    more = text.replace("report", "b = ablate embed @ S2 to noise by 1  report")
    assert (first - found(more)).abs().max() < 1e-9
    assert (first - found(text.replace("by 2", "by 2 seed 5"))).abs().max() > 1e-3
    tiny = found(text.replace("by 2", "by 0.000001"))
    clean, _ = one.run(text, "cone").arm("m", "clean")
    assert (tiny - clean["logit_diff"]).abs().max() < 1e-3
