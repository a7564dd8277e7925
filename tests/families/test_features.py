"""Interventions on features, against raw hooks on the transformers module, in float64.

What a dictionary computes is written here once more, in the plainest way, from the tensors that
the test itself draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import ProgramError
from tests.families import oracle
from tests.families.arms import At, Batch
from tests.families.bench import BACKENDS, CHANGED, CLOSE, Bench, Ran, by_name
from tests.tiny_dictionaries import COUNT, K, write_dictionary

FAMILIES = ("llama", "gpt2", "gpt_neox", "qwen2", "gemma2")


@dataclass(frozen=True)
class Mine:
    """A dictionary of the test's own, in SAELens layout."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: Tensor
    kind: str

    def encode(self, x: Tensor) -> Tensor:
        into = x if self.kind == "transcoder" else x - self.b_dec
        h = into @ self.W_enc + self.b_enc
        if self.kind == "jumprelu":
            return torch.where(h > self.threshold, h, torch.zeros_like(h)).relu()
        a = h.relu()
        if self.kind == "topk":
            smallest = a.sort(-1, descending=True).values[..., K - 1 : K]
            return torch.where(a >= smallest, a, torch.zeros_like(a))
        return a


def write(folder: Path, kind: str, seed: int) -> Mine:
    kept = {name: tensor.double() for name, tensor in write_dictionary(folder, kind, seed).items()}
    return Mine(**{"threshold": torch.zeros(COUNT), **kept}, kind=kind)


KINDS = ("standard", "jumprelu", "topk", "transcoder")
NAMES = dict(zip(KINDS, "rjkt", strict=True))
TEXT = """
dictionary r = sae("standard") at resid_post[1]
dictionary j = sae("jumprelu") at mlp_out[1]
dictionary k = sae("topk") at resid_pre[2]
dictionary t = transcoder("transcoder") at mlp_in[1] -> mlp_out[1]
"""
SITES = {
    "standard": ("resid_post", "resid_post", 1),
    "jumprelu": ("mlp_out", "mlp_out", 1),
    "topk": ("resid_pre", "resid_pre", 2),
    "transcoder": ("mlp_in", "mlp_out", 1),
}


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    return by_name(tmp_path_factory)


@pytest.fixture(scope="module")
def mine(benches: Callable[[str], Bench]) -> Callable[[str], dict[str, Mine]]:
    def of(family: str) -> dict[str, Mine]:
        folder = benches(family).folder.parent
        return {kind: write(folder / kind, kind, seed) for seed, kind in enumerate(KINDS)}

    return of


Wanted = Callable[[Tensor, Tensor], Tensor]
"""Features that are wanted, (n, k, F), from the features of the base and of the source."""


def logits(one: Bench, ran: Ran, found: Mine, where: str, wanted: Wanted) -> Tensor:
    """Logit differences by pair with the features of a dictionary changed."""
    reads, writes, layer = SITES[found.kind]
    reference = one.reference(ran)
    into, out = At(reads, layer, where=where), At(writes, layer, where=where)

    def of_batch(batch: Batch) -> Tensor:
        old = found.encode(reference.activation(batch, into, "base"))
        new = wanted(old, found.encode(reference.activation(batch, into, "source")))
        edit = oracle.put(batch.at(where), (new - old) @ found.W_dec, add=True)
        return oracle.logits(one.model, batch.base, [(out.place, edit)])

    return reference.logit_diff(torch.stack(reference.by_pair(of_batch)))


def some(numbers: list[int], value: Callable[[Tensor, Tensor], Tensor]) -> Wanted:
    """Those features have other values, the others their own."""

    def wanted(base: Tensor, source: Tensor) -> Tensor:
        new = base.clone()
        new[..., numbers] = value(base, source)[..., numbers]
        return new

    return wanted


def along(base: Tensor, source: Tensor) -> Tensor:
    direction = torch.zeros(COUNT, dtype=torch.float64)
    direction[[2, 5]] = torch.tensor([3.0, 4.0], dtype=torch.float64) / 5
    return base + ((source - base) @ direction)[..., None] * direction


ARMS: dict[str, tuple[str, Wanted]] = {
    "whole": ("patch F.features @ P", lambda base, source: source),
    "one": ("patch F.features[7] @ P", some([7], lambda base, source: source)),
    "few": ("patch F.features[{3, 11, 30}] @ P", some([3, 11, 30], lambda base, source: source)),
    "stretch": ("ablate F.features[0..20] @ P to zero", some(list(range(21)), lambda b, s: 0 * b)),
    "gone": ("ablate F.features @ P to zero", lambda base, source: 0 * base),
    "steered": (
        "steer F.features @ P along neurons(F.features @ P, [9]) by 2.5",
        some([9], lambda base, source: base + 2.5),
    ),
    "steered_one": (
        "steer F.features[9] @ P by 2.5",
        some([9], lambda base, source: base + 2.5),
    ),
    "axes": (
        "patch F.features @ P along neurons(F.features @ P, [4, 8])",
        some([4, 8], lambda base, source: source),
    ),
    "along": (
        "patch F.features[{2, 5}] @ P along vector(F.features[{2, 5}] @ P, [3, 4])",
        along,
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_equals_hooks(
    family: str,
    backend: str,
    benches: Callable[[str], Bench],
    mine: Callable[[str], dict[str, Mine]],
) -> None:
    one, dictionaries = benches(family), mine(family)
    text, moved = TEXT, 0.0
    for kind, name in NAMES.items():
        arms = "  ".join(
            f"{arm} = {does.replace('F.', name + '.').replace('P', 'END')}"
            for arm, (does, _) in ARMS.items()
        )
        text += f"measure m_{kind} on flip.test {{ {arms}  report logit_diff }}\n"
    ran = one.run(text, backend)
    for kind in KINDS:
        clean = ran.arm(f"m_{kind}", "clean")[0]["logit_diff"]
        for arm, (_, wanted) in ARMS.items():
            right = logits(one, ran, dictionaries[kind], "END", wanted)
            columns, used = ran.arm(f"m_{kind}", arm)
            assert used == backend
            assert (columns["logit_diff"] - right).abs().max() < CLOSE, (kind, arm)
            moved = max(moved, float((right - clean).abs().max()))
            if arm == "whole":
                assert (right - clean).abs().max() > CHANGED
    assert moved > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
@torch.no_grad()
def test_in_a_run_with_other_changes(
    backend: str, benches: Callable[[str], Bench], mine: Callable[[str], dict[str, Mine]]
) -> None:
    """Features are those of the activation as it is in the run, at every token of it."""
    one, found = benches("llama"), mine("llama")["topk"]
    ran = one.run(
        TEXT + "subspace v = random(resid_post[0] @ END, seed: 3)\n"
        "measure m on flip.test {\n"
        "  both = steer resid_post[0] @ all along v by 4 + patch k.features[{1, 2, 3}] @ S2..END\n"
        "  after = ablate k.features[1..3] @ END to zero then ablate k.features @ END to zero\n"
        "  report logit_diff\n}\n",
        backend,
    )
    reference = one.reference(ran)
    v = ran.basis("v")[:, 0]

    def logits(batch: Batch, change: Callable[[Tensor], Tensor], where: str, steer: bool) -> Tensor:
        at = batch.at(where)
        steered = oracle.put(batch.at("all"), 4.0 * v, add=True)

        def changed(x: Tensor) -> Tensor:
            old = oracle.gather(x, at)
            return oracle.put(at, change(old))(x)

        edits = [(("resid_post", 0, None), steered)] if steer else []
        edits = [*edits, (("resid_pre", 2, None), changed)]
        return oracle.logits(one.model, batch.base, edits)

    def both(batch: Batch) -> Tensor:
        place = At("resid_pre", 2, where="S2..END")
        source = found.encode(reference.activation(batch, place, "source"))

        def change(x: Tensor) -> Tensor:
            old = found.encode(x)
            return (
                x + some([1, 2, 3], lambda b, s: s)(old, source) @ found.W_dec - old @ found.W_dec
            )

        return logits(batch, change, "S2..END", True)

    def after(batch: Batch) -> Tensor:
        def change(x: Tensor) -> Tensor:
            first = found.encode(x)
            x = x - first[..., [1, 2, 3]] @ found.W_dec[[1, 2, 3]]
            return x - found.encode(x) @ found.W_dec

        return logits(batch, change, "END", False)

    for arm, of in (("both", both), ("after", after)):
        right = reference.logit_diff(torch.stack(reference.by_pair(of)))
        assert (ran.arm("m", arm)[0]["logit_diff"] - right).abs().max() < CLOSE


@pytest.mark.parametrize("backend", BACKENDS)
def test_best_features(
    backend: str, benches: Callable[[str], Bench], mine: Callable[[str], dict[str, Mine]]
) -> None:
    """Ranked by mean (source - base) . d LD / d feature, by autograd through the decoder."""
    one, dictionaries = benches("llama"), mine("llama")
    lines, order = [], {}
    for name in NAMES.values():
        lines += [
            f"subspace a{name} = best_features({name}.features @ S2..END, k: 4, on: flip.test)",
            f"subspace b{name} = best_features({name}.features @ S2..END, k: 2, after: 1, "
            "by: difference, on: flip.test)",
            f"subspace g{name} = gradient({name}.features @ S2..END, on: flip.test)",
        ]
    ran = one.run(TEXT + "\n".join(lines), backend)
    reference = one.reference(ran)
    for kind, name in NAMES.items():
        found, (reads, writes, layer) = dictionaries[kind], SITES[kind]
        into, out = At(reads, layer, where="S2..END"), At(writes, layer, where="S2..END")
        gradients = [g @ found.W_dec.T for g in reference.gradients(out)]

        def change(batch: Batch, found: Mine = found, into: At = into) -> Tensor:
            ends = [reference.activation(batch, into, side) for side in ("source", "base")]
            return found.encode(ends[0]) - found.encode(ends[1])

        moved = reference.by_pair(change)
        both = zip(moved, gradients, strict=True)
        attribution = torch.stack([(m * g).sum(0) for m, g in both]).mean(0)
        difference = torch.stack([m.sum(0) for m in moved]).mean(0)
        order["a"] = attribution.abs().argsort(descending=True)[:4]
        order["b"] = difference.abs().argsort(descending=True)[1:3]
        for letter, wanted in order.items():
            assert ran.basis(letter + name).nonzero()[:, 0].tolist() == sorted(wanted.tolist())
        mean = torch.cat(gradients).mean(0)
        assert (ran.value("g" + name).vectors[:, 0] - mean).abs().max() < CLOSE * mean.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
@torch.no_grad()
def test_what_else_takes_features(
    backend: str, benches: Callable[[str], Bench], mine: Callable[[str], dict[str, Mine]]
) -> None:
    """Directions of any kind, paths and traces see the same change of the activation."""
    one, found = benches("llama"), mine("llama")["standard"]
    policy = "{ freeze attention  layernorm recompute }"
    by = 2 / float(found.W_dec[3].norm())
    ran = one.run(
        TEXT
        + f"""
subspace v = random(r.features @ END, dim: 2, seed: 1)
subspace w = das(r.features @ END, on: flip.train, epochs: 1)
let long = norm(feature(r, 3))
subspace one = neurons(r.features @ END, [3])
measure m on flip.test {{
  drawn = patch r.features @ END along v
  learned = patch r.features @ END along w
  same = patch r.features @ END from base
  none = steer r.features @ END along one by 0
  way = ablate r.features[3] @ END to zero -> mlp_in[2] @ END -> logits {policy}
  plain = steer resid_post[1] @ END along feature(r, 3) by 2 -> mlp_in[2] @ END -> logits {policy}
  by_feature = steer r.features @ END along one by {by:.17g} -> mlp_in[2] @ END -> logits {policy}
  report logit_diff
}}
trace seen = patch r.features[{{3, 9}}] @ END to logit_diff on flip.test {{ through mlps  top 1 }}
measure n on flip.test {{ a = patch r.features[{{3, 9}}] @ END  report logit_diff }}
""",
        backend,
    )

    def arm(name: str, measure: str = "m") -> Tensor:
        return ran.arm(measure, name)[0]["logit_diff"]

    def projected(basis: Tensor) -> Wanted:
        return lambda base, source: base + (source - base) @ basis @ basis.T

    for name, subspace in (("drawn", "v"), ("learned", "w")):
        right = logits(one, ran, found, "END", projected(ran.basis(subspace)))
        assert (arm(name) - right).abs().max() < CLOSE
    assert (arm("same") - arm("clean")).abs().max() < CLOSE
    idle = "m.none: the intervention at resid_post[1] @ END left every activation as it was"
    assert idle in ran.results.notes
    assert (arm("none") - arm("clean")).abs().max() < CLOSE
    assert abs(ran.results.numbers["long"] - float(found.W_dec[3].norm())) < CLOSE
    assert (arm("plain") - arm("by_feature")).abs().max() < CLOSE
    assert (arm("plain") - arm("clean")).abs().max() > CHANGED
    assert (arm("way") - arm("clean")).abs().max() > CHANGED
    total = ran.results.traces["seen"].total.mean
    change = float((arm("clean", "n") - arm("a", "n")).mean())
    assert abs(abs(total) - abs(change)) < CLOSE


@pytest.mark.parametrize(
    ("family", "site", "centred"),
    [
        ("gpt2", "resid_post", True),
        ("gpt2", "mlp_in", False),  # behind a norm, which weights that are centred don't change
        ("llama", "resid_post", False),  # TransformerLens centres none that RMS norms read
    ],
)
@torch.no_grad()
def test_dictionaries_of_models_with_centred_weights(
    family: str, site: str, centred: bool, benches: Callable[[str], Bench]
) -> None:
    """They read activations without their mean, where centring took it off; so do directions."""
    one = benches(family)
    about = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    folder = one.folder.parent / "centred"
    kept = {n: t.double() for n, t in write_dictionary(folder, "standard", 7, **about).items()}
    ran = one.run(
        f'dictionary f = sae("centred") at {site}[1]\nsubspace e = encoded(f, 3)\n'
        "measure m on flip.test { a = ablate f.features @ END to zero  report logit_diff }\n",
        "cone",
    )
    reference = one.reference(ran)
    place = At(site, 1, where="END")

    def of_batch(batch: Batch) -> Tensor:
        x = reference.activation(batch, place, "base")
        seen = x - x.mean(-1, keepdim=True) if centred else x
        a = ((seen - kept["b_dec"]) @ kept["W_enc"] + kept["b_enc"]).relu()
        edit = oracle.put(batch.at("END"), -a @ kept["W_dec"], add=True)
        return oracle.logits(one.model, batch.base, [(place.place, edit)])

    right = reference.logit_diff(torch.stack(reference.by_pair(of_batch)))
    clean, found = (ran.arm("m", name)[0]["logit_diff"] for name in ("clean", "a"))
    assert (found - right).abs().max() < CLOSE
    assert (found - clean).abs().max() > CHANGED
    column = kept["W_enc"][:, 3]
    column = column - column.mean() if centred else column
    assert torch.allclose(ran.value("e").vectors[:, 0], column)


@pytest.mark.parametrize(
    ("kind", "backend"), [*((kind, "cone") for kind in KINDS), ("transcoder", "hooks")]
)
@torch.no_grad()
def test_das_trains_on_the_change_that_a_patch_makes(
    kind: str,
    backend: str,
    benches: Callable[[str], Bench],
    mine: Callable[[str], dict[str, Mine]],
) -> None:
    """Its loss with all of some features: cross-entropy of the counterfactual answers."""
    one, found = benches("llama"), mine("llama")[kind]
    ran = one.run(
        TEXT + f"subspace w = das({NAMES[kind]}.features[{{3, 11, 30}}] @ END, dim: 3, "
        "no_change: 0, epochs: 1, on: flip.train)\n",
        backend,
    )
    reads, writes, layer = SITES[kind]
    reference = one.reference(ran, "flip.train")
    into, out = At(reads, layer, where="END"), At(writes, layer, where="END")

    def of_batch(batch: Batch) -> Tensor:
        old, new = (found.encode(reference.activation(batch, into, s)) for s in ("base", "source"))
        change = (some([3, 11, 30], lambda b, s: s)(old, new) - old) @ found.W_dec
        edit = oracle.put(batch.at("END"), change, add=True)
        return oracle.logits(one.model, batch.base, [(out.place, edit)])

    graph = ran.session.graph
    answers = [p.counterfactual for p in graph.pairs[graph.key_of("flip.train")].pairs]
    logits = torch.stack(reference.by_pair(of_batch))
    right = torch.nn.functional.cross_entropy(logits, torch.tensor(answers))
    (loss,) = ran.session.training[graph.key_of("w")].losses
    assert abs(loss - float(right)) < CLOSE


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"model_from_pretrained_kwargs": {"fold_ln": True}}, "without the norm's weights"),
        ({"hook_name": "blocks.1.ln2.hook_normalized"}, "belongs to blocks.1.ln2.hook_normalized"),
    ],
)
def test_what_the_mlp_reads_is_with_the_weights_of_its_norm(
    about: dict[str, object], words: str, benches: Callable[[str], Bench]
) -> None:
    one = benches("llama")
    write_dictionary(one.folder.parent / "normed", "standard", **about)
    with pytest.raises(ProgramError) as refused:
        one.check('dictionary f = sae("normed") at mlp_in[1]\n')
    (problem,) = refused.value.diagnostics
    assert words in problem.message
    assert problem.code == "dictionary-site"
    assert problem.help
    assert "hook(" not in problem.help


@torch.no_grad()
def test_what_a_dictionary_explains(
    benches: Callable[[str], Bench], mine: Callable[[str], dict[str, Mine]]
) -> None:
    """1 - |y - y'|^2 / |y - mean y|^2 over the bases, whose prompts count alike."""
    one, dictionaries = benches("llama"), mine("llama")
    lines = [
        f"let v_{kind} = variance_explained({name}.features @ S2..END, on: flip.test)\n"
        f"let n_{kind} = active_features({name}.features[3..20] @ S2..END, on: flip.test)"
        for kind, name in NAMES.items()
    ]
    ran = one.run(TEXT + "\n".join(lines) + "\n", "cone")
    reference = one.reference(ran)

    def by_pair(place: At) -> list[Tensor]:
        return reference.by_pair(lambda batch: reference.activation(batch, place, "base"))

    for kind in KINDS:
        found, (reads, writes, layer) = dictionaries[kind], SITES[kind]
        xs, ys = (by_pair(At(site, layer, where="S2..END")) for site in (reads, writes))
        made = [found.encode(x) for x in xs]
        both = zip(ys, made, strict=True)
        errors = [(y - a @ found.W_dec - found.b_dec).square().sum(-1).mean() for y, a in both]
        centre = torch.stack([y.mean(0) for y in ys]).mean(0)
        spread = [(y - centre).square().sum(-1).mean() for y in ys]
        right = 1 - float(torch.stack(errors).mean() / torch.stack(spread).mean())
        assert ran.results.numbers[f"v_{kind}"] == pytest.approx(right)
        active = [(a[:, 3:21] > 0).sum(-1).double().mean() for a in made]
        assert ran.results.numbers[f"n_{kind}"] == pytest.approx(float(torch.stack(active).mean()))
    with pytest.raises(ProgramError, match="of all features"):
        one.check(TEXT + "let v = variance_explained(r.features[3] @ END, on: flip.test)\n")
