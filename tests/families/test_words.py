"""What is more than an arm, in every family: gradients, DAS, traces, audits, matrices."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import ProgramError
from tests.families import matrix
from tests.families.arms import Arm, At, Do, Reference
from tests.families.bench import BACKENDS, CLOSE, Bench, bench, program
from tests.families.models import FAMILIES
from tests.families.traces import ByHand

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", params=FAMILIES)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(tmp_path_factory.mktemp(request.param), request.param)


def close(found: Any, wanted: Any, tolerance: float = CLOSE) -> bool:
    found, wanted = (torch.as_tensor(x, dtype=torch.float64) for x in (found, wanted))
    size = wanted.abs().max().clamp_min(1.0)
    return bool((found - wanted).abs().max() <= tolerance * size)


def refused(one: Bench, text: str) -> str:
    """What check says of a statement that it refuses, with its way out."""
    with pytest.raises(ProgramError) as caught:
        one.check(text)
    return " ".join(f"{problem.message} {problem.help}" for problem in caught.value.diagnostics)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients(one: Bench, backend: str) -> None:
    """Of every site, against autograd through raw hooks."""
    places = [matrix.telling(at) for at in matrix.sites(one.model)]
    lines = [f"subspace g{i} = gradient({at}, on: flip.train)" for i, at in enumerate(places)]
    ran = one.run("\n".join(lines) + "\n", backend)
    reference = one.reference(ran, "flip.train")
    wrong = []
    for i, at in enumerate(places):
        wanted = torch.stack(reference.gradients(at)).mean(0)[0]
        assert wanted.norm() > 1e-6
        if not close(ran.value(f"g{i}").vectors[:, 0], wanted):
            wrong.append(str(at))
    assert wrong == []


def test_das_is_the_same_on_both_backends(one: Bench) -> None:
    """Losses in every epoch, and the direction that is learned."""
    places = [at for at in matrix.sites(one.model) if at.kind in _LEARNED]
    lines = [
        f"subspace d{i} = das({at}, on: flip.train, epochs: 2, lr: 0.05)"
        for i, at in enumerate(places)
    ]
    hooks, cone = (one.run("\n".join(lines) + "\n", backend) for backend in BACKENDS)
    for i, at in enumerate(places):
        losses = [ran.results.subspaces[f"d{i}"].losses for ran in (hooks, cone)]
        assert losses[0], at
        assert close(*losses, 1e-7), at
        assert close(hooks.basis(f"d{i}"), cone.basis(f"d{i}"), 1e-5), at


_LEARNED = (
    "resid_pre",
    "resid_mid",
    "head.q",
    "head.z",
    "head.out",
    "attn_out",
    "mlp_hidden",
    "mlp_out",
)

TRACES = (
    (At("mlp_out", 0, None, "S2"), False),
    (At("head.z", 0, 1, "S2"), True),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", range(len(TRACES)))
def test_a_trace(one: Bench, case: int, backend: str) -> None:
    at, along = TRACES[case]
    text = f"""
subspace v = random({at}, seed: 1)
trace t = patch {at}{" along v" if along else ""} to logit_diff on flip.test {{
  through heads[1..2], mlps[1..2]  top 4  at S2, END
}}
"""
    ran = one.run(text, backend)
    trace = ran.results.traces["t"]
    hand = ByHand(one.reference(ran), at, ran.basis("v") if along else None)
    total = hand.total().mean()
    assert close(trace.total.mean, total)
    for node in trace.components[:: 3 if case else 2]:
        assert node.mediated is not None
        assert close(node.mediated.mean, hand.mediated([node.id]).mean()), node.id
    for edge in trace.edges:
        ends = edge.sender, edge.receiver
        assert close(edge.effect.mean, hand.edge(*ends, natural=False).mean()), ends
        assert close(edge.natural.mean, hand.edge(*ends, natural=True).mean()), ends
    shown = [(edge.sender, edge.receiver) for edge in trace.edges if edge.shown]
    explained = hand.explained(shown, [node.id for node in trace.nodes[1:-1]]).mean()
    assert close(trace.explained.mean, explained / total, 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_audit(one: Bench, backend: str) -> None:
    """The effects behind its evidence, along the direction and of the whole site."""
    kinds = ("mlp_hidden", "resid_post")
    places = [at for at in matrix.sites(one.model) if at.kind in kinds]
    text = "\n".join(
        f"subspace v{i} = mean_difference({at}, ABB, ABA, on: flip.train)\n"
        f"audit a{i} = illusion(v{i}, on: flip, directions: 1, mlps: 1, sizes: [4])"
        for i, at in enumerate(places)
    )
    ran = one.run(text + "\n", backend)
    reference = one.reference(ran)
    for i, at in enumerate(places):
        basis = {"v": ran.basis(f"v{i}")}
        arms = [Arm(), Arm((Do("patch", at, "v"),)), Arm((Do("patch", at),))]
        clean, along, whole = map(reference.logit_diff, reference.logits(arms, basis))
        said = {e.name: e.value for e in ran.results.audits[f"a{i}"].evidence}
        effect = 1 - along.mean() / clean.mean()
        assert close(_mean(said["subspace effect"]), effect, 1e-8)
        assert close(_mean(said["whole component"]), 1 - whole.mean() / clean.mean(), 1e-8)


def _mean(value: Any) -> float:
    return float(getattr(value, "mean", value))


def test_matrices(one: Bench) -> None:
    """A direction through each matrix, against what the module's own map makes of it."""
    model = one.model
    kv = model.kv_heads - 1
    lines = ["subspace x = random(resid_pre[1] @ END)", "subspace z = random(head[1.2].z @ END)"]
    lines += [
        "subspace q = x * W_Q[1.2]",
        f"subspace k = x * W_K[1.{kv}]",
        f"subspace v = x * W_V[1.{kv}]",
        "subspace o = z * W_O[1.2]",
    ]
    if model.parts.down is not None:
        lines += ["subspace h = random(mlp_hidden[1] @ END)", "subspace m = h * W_out[1]"]
    ran = one.run("\n".join(lines) + "\n", "cone")

    def through(linear: Any, name: str) -> Tensor:
        x = ran.value(name).vectors[:, 0]
        with torch.no_grad():
            return linear(x[None, None])[0, 0] - linear(torch.zeros_like(x)[None, None])[0, 0]

    for part, head in (("q", 2), ("k", kv), ("v", kv)):
        linear, columns = model.of_qkv(1, part, head)
        assert close(ran.value(part).vectors[:, 0], through(linear, "x")[columns]), part
    z = ran.value("z").vectors[:, 0]
    assert close(ran.value("o").vectors[:, 0], z @ model.W_O(1, 2))
    if model.parts.down is not None:
        down = model.part(1, model.parts.down)
        assert close(ran.value("m").vectors[:, 0], through(down, "h"))


def test_row_and_null(one: Bench) -> None:
    """What W_out does not see does nothing; where there is no one W_out, check says so."""
    if one.model.parts.down is None:
        assert "mlp_out" in refused(one, "site s = mlp_hidden[1] @ END\n")
        return
    at = At("mlp_hidden", 1)
    text = f"""
subspace d = random({at})
subspace r = row(W_out[1], d)
subspace n = null(W_out[1], d)
"""
    arms = [Arm((Do("patch", at, "r"),)), Arm((Do("patch", at, "n"),))]
    for backend in BACKENDS:
        ran = one.run(text + program(arms, []), backend)
        reference = one.reference(ran)
        clean, row, _ = reference.logits([Arm(), *arms], {n: ran.basis(n) for n in ("r", "n")})
        assert close(ran.arm("m", "a0")[0]["logit_diff"], reference.logit_diff(row))
        assert close(ran.arm("m", "a1")[0]["logit_diff"], reference.logit_diff(clean), 1e-6)


def test_a_random_mlp(one: Bench) -> None:
    """A control beside the MLP: the same on both backends, and it does something."""
    if one.model.parts.down is None:
        assert refused(one, "site f = random_mlp(1, seed: 1) @ END\n")
        return
    text = "measure m on flip.test { a = patch random_mlp(1, seed: 1) @ END  report logit_diff }\n"
    found = [one.run(text, backend).arm("m", "a")[0]["logit_diff"] for backend in BACKENDS]
    clean = one.run(text, "cone").arm("m", "clean")[0]["logit_diff"]
    assert close(found[0], found[-1])
    assert (found[0] - clean).abs().max() > 1e-6


UNEVEN = [
    (
        "Then, Mary and John went to the store. John gave",
        "Then, Tom met. Anna gave",
        " Mary",
        " John",
    ),
    ("Paul said to", "One day Mark and Luke went to the garden and said to", " Sarah", " Laura"),
    ("Then Kate met Tom in the park", "Then Anna met Tom", " Kate", " Tom"),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bos", [True, False])
def test_pairs_of_any_length(
    one: Bench, bos: bool, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Base and source of different lengths, shorter and longer than a window, and BOS or not."""
    # The class that the folder names: `AutoTokenizer` takes a Qwen 2's own, and loses its merges.
    from transformers import PreTrainedTokenizerFast

    odd = bench(tmp_path_factory.mktemp("odd"), one.name, bos)
    keys = ("base", "source", "answer", "foil")
    rows = [json.dumps(dict(zip(keys, row, strict=True))) for row in UNEVEN]
    (odd.folder.parent / "uneven.jsonl").write_text("\n".join(rows) + "\n")
    odd.prelude = 'model lm = "NAME"\npairs flip = jsonl("uneven.jsonl")\n'
    arms = [Arm((Do("patch", at),)) for at in matrix.sites(odd.model)]
    arms += [Arm((Do("mean", at),)) for at in matrix.sites(odd.model, 2)]
    made = matrix.paths(odd.model, every=False).arms
    arms += [arm for arm in made if arm.way and not arm.way.stages]
    ran = odd.run(program(arms, []).replace("flip.test", "flip"), backend)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(odd.folder)
    pairs = ran.session.graph.pairs[ran.session.graph.key_of("flip")].pairs
    for pair, row in zip(pairs, UNEVEN, strict=True):
        assert list(pair.base.ids) == tokenizer(row[0])["input_ids"]
        assert (pair.base.ids[0] == 0) == bos
    reference = Reference(odd.model, odd.cases(pairs))
    for i, (arm, logits) in enumerate(zip(arms, reference.logits(arms, {}), strict=True)):
        found = ran.arm("m", f"a{i}")[0]["logit_diff"]
        assert close(found, reference.logit_diff(logits)), str(arm)


def test_what_a_family_lacks_is_said_at_check(one: Bench) -> None:
    """No stream between the parts of a parallel block, no key of an own head that shares one."""
    if one.model.parts.middle is None:
        assert "parallel" in refused(one, "site s = resid_mid[1] @ END\n")
    if one.model.kv_heads != one.model.heads:
        assert "kv_head" in refused(one, "site s = head[1.0].k @ END\n")
