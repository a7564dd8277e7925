"""Attributions over features, against autograd through a decoder of the test's own, in float64."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.families import oracle
from tests.families.arms import Case, indices
from tests.families.bench import BACKENDS, Bench, Ran, bench
from tests.families.test_features import COUNT, KINDS, SITES, TEXT, Mine, write

FAMILIES = ("llama", "gpt2")
CLOSE = 1e-6
TEXT += 'dictionary n = sae("normed") at resid_post[1]\n'
NAMES = dict(zip("rjktn", (*KINDS, "normed"), strict=True))
ASKED = """
attribution one to logit_diff on flip.test { over r.features @ END  check 6 }
attribution some to prob on flip.test { over k.features[{30, 4, 5}] @ S2..END, t.features @ END }
attribution inputs to logit_diff on flip.test { over j.features, n.features @ END  steps 3 }
attribution own to logit_diff on flip.test {
  over n.features @ END, r.features @ END, t.features @ END  steps 2  integrate activations
}
"""
Place = tuple[str, str, list[int]]
"""The name of a dictionary, the positions, and which of its features."""
ALL = list(range(COUNT))
PLACES: dict[str, list[Place]] = {
    "one": [("r", "END", ALL)],
    "some": [("k", "S2..END", [30, 4, 5]), ("t", "END", ALL)],
    "inputs": [("j", "all", ALL), ("n", "END", ALL)],
    "own": [("n", "END", ALL), ("r", "END", ALL), ("t", "END", ALL)],
}


@dataclass(frozen=True)
class Normed:
    """A standard dictionary that reads activations at length sqrt(d), and undoes that."""

    inner: Mine

    def encode(self, x: Tensor) -> Tensor:
        return self.inner.encode(x / self.length(x))

    def length(self, x: Tensor) -> Tensor:
        return (x * x).mean(-1, keepdim=True).sqrt()


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = bench(tmp_path_factory.mktemp(request.param), request.param)
    found.prelude = found.prelude.replace("test 4", "test 2")
    return found


@pytest.fixture(scope="module")
def mine(made: Bench) -> dict[str, Mine | Normed]:
    folder: Path = made.folder.parent
    found: dict[str, Mine | Normed] = {}
    for seed, (name, kind) in enumerate(NAMES.items()):
        of = write(folder / kind, "standard" if kind == "normed" else kind, seed)
        found[name] = Normed(of) if kind == "normed" else of
    config = folder / "normed" / "cfg.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({**said, "normalize_activations": "constant_norm_rescale"}))
    return found


@pytest.fixture(scope="module", params=BACKENDS)
def ran(request: pytest.FixtureRequest, made: Bench, mine: dict[str, Mine | Normed]) -> Ran:
    return made.run(TEXT + ASKED, request.param)


def estimates(
    made: Bench, case: Case, of: Mine | Normed, place: Place, metric: str, how: str, steps: int
) -> list[float]:
    """(a_s - a_b) times the mean gradient of the metric with respect to the features."""
    reads, writes, layer = SITES["standard" if isinstance(of, Normed) else of.kind]
    _, where, numbers = place
    read = [
        oracle.read(made.model, torch.tensor([tokens]), [(reads, layer, None), EMBED])
        for tokens in (case.base, case.source)
    ]
    at = [
        indices(where, n, len(t))
        for n, t in ((case.base_at, case.base), (case.source_at, case.source))
    ]
    (_, embedded), (_, other) = read
    before, after = (of.encode(found[0][0][there]) for found, there in zip(read, at, strict=True))
    decoder = of.inner.W_dec if isinstance(of, Normed) else of.W_dec
    chosen = torch.zeros(COUNT, dtype=torch.float64)
    chosen[numbers] = 1
    total = torch.zeros_like(before)
    for step in range(steps):
        share = step / steps
        start = share * (after - before) * chosen if how == "activations" else 0 * before
        delta = start.clone().requires_grad_()

        def write(y: Tensor, delta: Tensor = delta) -> Tensor:
            moved = delta @ decoder
            if isinstance(of, Normed):
                moved = moved * of.length(y[0, at[0]].detach())
            return y.index_add(1, torch.tensor(at[0]), moved[None])

        edits = [((writes, layer, None), write)]
        if how == "inputs" and step:
            gone = share * (other - embedded)
            edits.insert(0, (EMBED, lambda y, gone=gone: y + gone))
        logits = oracle.logits(made.model, torch.tensor([case.base]), edits)[0]
        value = logits[case.answer] - logits[case.foil]
        if metric == "prob":
            value = logits.softmax(-1)[case.answer]
        total += torch.autograd.grad(value, delta)[0]
    found = ((after - before) * total / steps).sum(0)
    return found[numbers].tolist()


EMBED = ("embed", None, None)


@pytest.mark.parametrize("name", list(PLACES))
def test_estimates_are_changes_of_features_times_gradients(
    name: str, made: Bench, ran: Ran, mine: dict[str, Mine | Normed]
) -> None:
    of, found = ran.program.attributions[name], ran.value(name)
    how = of.integrate if of.steps > 1 else ""
    wanted = torch.tensor(
        [
            [
                value
                for place in PLACES[name]
                for value in estimates(made, case, mine[place[0]], place, of.metric, how, of.steps)
            ]
            for case in made.pairs(ran, "flip.test")
        ],
        dtype=torch.float64,
    )
    assert found.estimates.shape == wanted.shape == (2, len(of.nodes))
    assert wanted.abs().max() > 1e-4
    assert (found.estimates - wanted).abs().max() <= CLOSE * wanted.abs().max()


def test_a_sample_is_patched_and_ranked(made: Bench, ran: Ran) -> None:
    of, found = ran.program.attributions["one"], ran.value("one")
    arms = [f"a{i} = patch r.features[{i}] @ END" for i in of.drawn]
    text = TEXT + "measure m on flip.test {\n" + "\n".join(arms) + "\nreport logit_diff }"
    other = made.run(text, ran.session.settings.backend)
    for column, i in enumerate(of.drawn):
        own = other.arm("m", f"a{i}")[0]["logit_diff"] - found.clean
        assert torch.allclose(found.exact[:, column], own, atol=1e-9)
    record = ran.results.attributions["one"]
    assert (record.of, record.count) == ("features", COUNT)
    still = [one for one in record.drawn if one.estimate.mean == 0 and abs(one.exact.mean) < 1e-9]
    assert record.idle == len(still) < len(record.drawn)
    assert (record.rank_correlation is None) == (len(record.drawn) - record.idle < 5)
    assert found.exact.abs().max() > 1e-4
