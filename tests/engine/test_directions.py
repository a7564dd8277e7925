"""Directions of tokens and of probes: against the modules themselves, scikit-learn and Newton."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from causaldsl.diagnostics import ProgramError, RunFailure
from causaldsl.engine.session import Session
from causaldsl.engine.words.directions import logistic
from causaldsl.model.tokens import Tokens
from causaldsl.vocabulary.base import SIDES
from tests import oracle
from tests.engine.test_interpret import check, run
from tests.families.models import family_folder
from tests.frontend.world import PRELUDE, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("directions"))


NORMS = {
    "llama": "model.norm",
    "gpt2": "transformer.ln_f",
    "gpt_neox": "gpt_neox.final_layer_norm",
    "gemma": "model.norm",
    "cohere": "model.norm",
}
TOKENS = """
pairs p = jsonl("pairs.jsonl")
subspace mary = token(" Mary")
subspace plain = token(" Mary", norm: none)
subspace lead = token(" Mary", less: " John")
site out = resid_post[3] @ END
measure m on p { pushed = steer out along lead by 3  report logit_diff }
let same = cos(lead, token(" Mary") - token(" John"))
"""


@pytest.mark.parametrize("family", NORMS)
def test_a_token_is_what_its_logit_reads(family: str, tmp_path: Path) -> None:
    """logit(x) - logit(0) = v . c / s: c the stream, centred if the norm does that, s its size."""
    folder = family_folder(tmp_path, family)
    row = {"base": "Then Mary and John went to the store", "answer": " Mary", "foil": " John"}
    rows = [{**row, "source": "Then Anna and John went to the park"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    _, session = run(f'model lm = "{folder.name}"\n{TOKENS}', tmp_path)
    module = session.loaded.hf  # whose norms compute in float32
    norm, head = module.get_submodule(NORMS[family]), module.get_output_embeddings()
    mary, john = (_id(session, text) for text in (" Mary", " John"))
    x = 1e5 * torch.randn(6, 32, dtype=torch.float64)  # so that the norm's epsilon is nothing
    moved = head(norm(x)) - head(norm(torch.zeros_like(x)))
    centred = (
        x if "RMS" in type(norm).__name__ or family == "gemma" else x - x.mean(1, keepdim=True)
    )
    size = centred.square().mean(1).sqrt()
    found = {name: _vector(session, name) for name in ("mary", "plain", "lead")}
    assert torch.allclose(centred @ found["mary"] / size, moved[:, mary], atol=1e-5)
    assert torch.allclose(
        centred @ found["lead"] / size, moved[:, mary] - moved[:, john], atol=1e-5
    )
    # Nothing of it lies where the norm takes all away.
    assert torch.allclose(x @ found["mary"], centred @ found["mary"], rtol=1e-9)
    assert torch.equal(found["plain"], head.weight[mary].double())


def _vector(session: Session, name: str) -> torch.Tensor:
    vectors: torch.Tensor = session.values[session.graph.key_of(name)].vectors
    return vectors[:, 0]


def _id(session: Session, text: str) -> int:
    spec = session.loaded.spec
    assert spec.path is not None
    found = Tokens.load(spec.path, spec.bos).single(text)
    assert found is not None
    return found


PROBES = (
    PRELUDE.replace("train 8", "train 40")
    + """
site x = resid_mid[2] @ S2
subspace v = probe(x, ABB, BAB, on: flip.train, penalty: 0.5, seed: 3)
subspace rest = probe(x, BAB, on: flip.train, penalty: 0.5, seed: 3)
let accuracy = probe_accuracy(x, ABB, BAB, on: flip.train, penalty: 0.5, seed: 3)
measure m on flip.test { along = patch x along v  report logit_diff, fldd }
audit a = illusion(v, on: flip, directions: 1)
audit of_token = illusion(token(" Mary"), at: resid_post[2] @ END, on: flip.test, directions: 1)
expect accuracy > 0.3
subspace away = mean_difference(x, ABB, on: flip.train)
subspace both = mean_difference(x, ABB, BAB, on: flip.train)
let same = cos(away, both)
expect same == 1
"""
)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_probe_by_hand(backend: str, world: Path) -> None:
    results, session = run(PROBES, world, backend=backend)
    pairs = session.graph.pairs[session.graph.key_of("flip.train")]
    module = oracle.in_double(session.loaded.hf)

    def rows(i: int) -> list[torch.Tensor]:
        prompts = [getattr(pairs.pairs[i], side) for side in SIDES]
        place = ("resid_mid", 2, None)
        return [
            oracle.read(module, torch.tensor([p.ids]), place)[0, p.named["S2"]] for p in prompts
        ]

    x = [torch.stack(rows(i)) for i in range(len(pairs))]
    y = [
        torch.tensor([1.0 if getattr(pair, side).cls == "ABB" else -1.0 for side in SIDES]).double()
        for pair in pairs.pairs
    ]
    units = pairs.units
    order = torch.randperm(units.count, generator=session.generator(3, "probe split")).tolist()
    out = set(order[: round(0.25 * units.count)])
    parts = [
        [i for i, u in enumerate(units.of_pair) if (u in out) is held] for held in (False, True)
    ]
    x_train, x_test = (torch.cat([x[i] for i in part]) for part in parts)
    y_train, y_test = (torch.cat([y[i] for i in part]) for part in parts)
    mean, spread = x_train.mean(0), x_train.std(0, correction=0)
    a, b = newton((x_train - mean) / spread, y_train, 0.5)
    wanted = a / spread
    assert torch.allclose(_vector(session, "v"), wanted, atol=1e-7 * float(wanted.abs().max()))
    assert torch.allclose(_vector(session, "rest"), -_vector(session, "v"), atol=1e-7)
    told = ((x_test - mean) / spread) @ a + b
    score = float(((told > 0) == (y_test > 0)).double().mean())
    assert results.numbers["accuracy"] == pytest.approx(score)
    record = results.probes["v"]
    assert (record.score, record.n_test) == (pytest.approx(score), len(x_test))
    assert record.prompts_test == len(parts[1])
    claim = results.expectations[0]
    assert claim.low is not None
    assert claim.low < score - 0.3 < claim.high
    assert results.audits["a"].verdict in ("illusory", "faithful", "inconclusive")
    assert results.audits["of_token"].site == "resid_post[2] @ END"


def newton(x: torch.Tensor, y: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The minimum by Newton's method in all dimensions, with autograd's own derivatives."""
    w = torch.zeros(x.shape[1] + 1, dtype=torch.float64)

    def loss(w: torch.Tensor) -> torch.Tensor:
        return (
            torch.log1p(torch.exp(-y * (x @ w[:-1] + w[-1]))).sum() + penalty / 2 * w[:-1] @ w[:-1]
        )

    for _ in range(40):
        gradient = torch.autograd.functional.jacobian(loss, w)
        curved = torch.autograd.functional.hessian(loss, w)
        w = w - torch.linalg.solve(curved, gradient)
    assert gradient.abs().max() < 1e-9
    return w[:-1], w[-1]


@pytest.mark.parametrize(("n", "d"), [(12, 40), (60, 5)])
def test_logistic_is_that_of_scikit_learn(n: int, d: int) -> None:
    """In more dimensions than rows, and in fewer; without a penalty worth the name it separates."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.where(x[:, 0] + 0.5 * torch.randn(n, generator=generator) > 0, 1.0, -1.0).double()
    for penalty in (10.0, 0.01):
        weights, offset = logistic(x, y, penalty)
        model = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10000, solver="newton-cg")
        model.fit(x.numpy(), y.numpy())
        assert np.allclose(weights.numpy(), model.coef_[0], atol=1e-5)
        assert float(offset) == pytest.approx(float(model.intercept_[0]), abs=1e-5)


BAD: list[tuple[str, str]] = [
    ('subspace v = token(" Bartholomew the")', "not-one-token"),
    ("subspace v = token(7)", "wrong-kind"),
    ('subspace v = token(" Mary", less: " Mary")', "zero-vector"),
    ('subspace v = token(" Mary")\nmeasure m on flip.test { a = patch mlp_hidden[2] @ END along v '
     " report fldd }", "width-mismatch"),
    ("subspace v = probe(resid_mid[2] @ END, ABC, on: flip.train)", "unknown-class"),
    ("subspace v = probe(resid_mid[2] @ END, on: flip.train)", "missing-operand"),
    ("subspace v = probe(resid_mid[2] @ END, base, source, on: flip.train)", "both-ways"),
    ("subspace v = probe(resid_mid[2] @ END, ABB, on: flip.train, penalty: 0)", "bad-option"),
    ("let v = mean(resid_mid[2] @ END, ABB, on: flip.train)", "too-many"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), BAD)
def test_refused(text: str, code: str, world: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        check(PRELUDE + text + "\n", world)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert problem.help


def test_classes_that_are_alike_are_no_probe(world: Path) -> None:
    """At the first token there is nothing to tell."""
    text = PRELUDE + "subspace v = probe(resid_pre[0] @ 1, ABB, BAB, on: flip.train)\n"
    with pytest.raises(RunFailure, match="same activations"):
        run(text, world)


TASKS = """
pairs first = jsonl("first.jsonl")
pairs second = jsonl("second.jsonl")
pairs both = jsonl("both.jsonl")
site x = resid_post[1] @ END
subspace joined = das(x, on: first + second, epochs: 3, batch: 4)
subspace whole = das(x, on: both, epochs: 3, batch: 4)
measure m on first + second { all = patch x  report logit_diff }
measure n on both { all = patch x  report logit_diff }
"""


def test_two_tasks_at_once_are_the_file_of_both(world: Path) -> None:
    """The same basis, and the same numbers."""
    lines = (world / "even.jsonl").read_text().splitlines()
    others = [line.replace("gave", "had") for line in lines]
    for name, some in (("first", lines), ("second", others), ("both", [*lines, *others])):
        (world / f"{name}.jsonl").write_text("\n".join(some) + "\n")
    results, session = run('model lm = "tiny-llama"\n' + TASKS, world)
    joined, whole = (session.values[session.graph.key_of(name)] for name in ("joined", "whole"))
    assert torch.equal(joined.vectors, whole.vectors)
    assert results.measures["m"] == results.measures["n"]


@pytest.mark.parametrize("right", ["first", "said", "one_way.test", "x"])
def test_what_can_not_be_put_together(right: str, world: Path) -> None:
    (world / "first.jsonl").write_text((world / "even.jsonl").read_text())
    text = PRELUDE + (
        'pairs first = jsonl("first.jsonl")\nprompts said = corpus("texts.txt")\n'
        "pairs one_way = ioi ABB { test 4 }\nsite x = resid_post[1] @ END\n"
        f"measure m on first + {right} {{ a = ablate x to zero  report logit_diff }}\n"
    )
    with pytest.raises(ProgramError) as caught:
        check(text, world)
    assert caught.value.diagnostics[0].code in ("pairs-apart", "no-answers", "wrong-kind")
