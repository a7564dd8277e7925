"""Every metric of runs against raw PyTorch on whole forward passes, in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.discovery import import_all
from causaldsl.vocabulary.register import BUILT_IN
from tests import oracle
from tests.tiny import WORDS, tiny_folder, tiny_tokenizer

PROMPTS = [
    ("The man gave Mary", "The boy gave John"),
    ("The girl gave Kate", "The man gave Paul"),
    ("The dog gave Tom", "The cat gave Dan"),
    ("The boy said Amy", "The girl said Luke"),
]
import_all("causaldsl.vocabulary")
ELSEWHERE = {"faithfulness": "test_circuit_programs.py", "output": "test_toy_programs.py"}
"""Metrics of circuits and of toy models, with where they are worked out by hand."""
METRICS = tuple(word for word in BUILT_IN.metrics if word not in ELSEWHERE)


TOKENIZER = tiny_tokenizer(bos=True)


class World:
    """A folder with a model and pairs, and the oracle's logits (n, V) at END by run."""

    def __init__(self, folder: Path):
        self.folder = folder
        double = oracle.of_folder(tiny_folder(folder, "llama"))
        base, source = (
            torch.tensor([TOKENIZER.encode(row[side]).ids for row in PROMPTS]) for side in (0, 1)
        )
        there = ("resid_post", 1, None)
        value = oracle.read(double, source, there)[:, -1]

        def patched(x: Tensor) -> Tensor:
            return torch.cat([x[:, :-1], value[:, None]], 1)

        self.logits = {
            "clean": oracle.logits(double, base),
            "source": oracle.logits(double, source),
            "a": oracle.logits(double, base, [(there, patched)]),
        }
        # Words that base and source differ in: else numbers divided by the difference are withheld.
        words = torch.tensor([TOKENIZER.token_to_id("Ġ" + word) for word in WORDS])
        apart = (self.logits["clean"] - self.logits["source"])[:, words]
        self.answer, self.foil = words[apart.argmax(1)][:, None], words[apart.argmin(1)][:, None]
        lines = [
            {"base": b, "source": s, "answer": self.word(a), "foil": self.word(f)}
            for (b, s), a, f in zip(PROMPTS, self.answer, self.foil, strict=True)
        ]
        (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def word(self, token: Tensor) -> str:
        return TOKENIZER.id_to_token(int(token)).replace("Ġ", " ")

    def expected(self, arm: str) -> dict[str, float]:
        own, answer, foil = self.logits[arm], self.answer, self.foil
        probs = own.exp() / own.exp().sum(-1, keepdim=True)
        p, q = probs.gather(1, answer)[:, 0], probs.gather(1, foil)[:, 0]
        lds = {
            name: (found.gather(1, answer) - found.gather(1, foil))[:, 0]
            for name, found in self.logits.items()
        }
        ld = {name: float(values.mean()) for name, values in lds.items()}
        order = own.argsort(-1, descending=True)
        before = self.logits["clean"].log_softmax(-1)
        ranks = (order == answer).nonzero()[:, 1] + 1
        return {
            "logit_diff": ld[arm],
            "fldd": 1 - ld[arm] / ld["clean"],
            "recovered": (ld[arm] - ld["clean"]) / (ld["source"] - ld["clean"]),
            "prob": float(p.mean()),
            "prob_diff": float((p - q).mean()),
            "loss": float(-p.log().mean()),
            "rank": float(ranks.double().mean()),
            "accuracy": float((order[:, :1] == answer).double().mean()),
            "interchange_accuracy": float((order[:, :1] == foil).double().mean()),
            "flip_rate": float((lds[arm] * lds["clean"] < 0).double().mean()),
            "positive_rate": float((lds[arm] > 0).double().mean()),
            "kl": float((before.exp() * (before - own.log_softmax(-1))).sum(-1).mean()),
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("metrics"))


def test_every_metric_has_its_formula_here(world: World) -> None:
    assert len(METRICS) > 10
    missing = set(METRICS) - world.expected("a").keys()
    assert not missing, f"write what {sorted(missing)} must give, from the logits, in `expected`"
    for word, file in ELSEWHERE.items():
        assert word in (Path(__file__).parent / file).read_text(), f"{file} has no {word}"


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_metrics(world: World, backend: str) -> None:
    program = world.folder / "metrics.cpatch"
    program.write_text(
        'model lm = "tiny-llama"\npairs p = jsonl("pairs.jsonl")\n'
        "measure m on p { a = patch resid_post[1] @ END\n whole = patch resid_post[3] @ END\n"
        f" report {', '.join(METRICS)} }}\n"
    )
    run = api.run(program, backend=backend, dtype="float64")
    measured = run.results.measures["m"]
    for arm in ("clean", "a"):
        for name, wanted in world.expected(arm).items():
            assert measured[arm][name].mean == pytest.approx(wanted, abs=1e-9), (arm, name)
    assert measured["clean"]["recovered"].mean == 0
    assert abs(measured["a"]["recovered"].mean) > 0.01
    # All of the last layer's output at END is what the source's logits are made of.
    assert measured["whole"]["recovered"].mean == pytest.approx(1, abs=1e-9)
