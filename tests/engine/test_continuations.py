"""Answers of several tokens against raw PyTorch: log-probabilities of whole texts, in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.diagnostics import ProgramError
from tests import oracle
from tests.tiny import tiny_folder, tiny_tokenizer

ROWS = [
    ("The man gave Mary", "The boy gave John", " Bartholomew", " book"),
    ("The girl gave Kate", "The man gave Paul", " apple snack", " snack apple"),
    ("The dog gave Tom the", "The cat gave Dan the", " bone", " kiss"),
    ("The boy said Amy", "The girl said Luke", " day night day", " Maximilian"),
]
TOKENIZER = tiny_tokenizer(bos=True)


class World:
    def __init__(self, folder: Path):
        self.folder = folder
        self.module = oracle.of_folder(tiny_folder(folder, "llama"))
        lines = [dict(zip(("base", "source", "answer", "foil"), r, strict=True)) for r in ROWS]
        (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def log_prob(self, row: tuple[str, ...], place: int, layer: int | None) -> float:
        """Log-probability of an answer behind its base, of which END at a layer may be patched."""
        base, source = (torch.tensor([TOKENIZER.encode(row[side]).ids]) for side in (0, 1))
        whole = torch.tensor([TOKENIZER.encode(row[0] + row[place]).ids])
        end = base.shape[1] - 1
        total, edits = 0.0, []
        if layer is not None:
            value = oracle.read(self.module, source, ("resid_post", layer, None))[:, -1]

            def patched(x: Tensor) -> Tensor:
                return torch.cat([x[:, :end], value[:, None], x[:, end + 1 :]], 1)

            edits = [(("resid_post", layer, None), patched)]
        for at in range(end + 1, whole.shape[1]):
            logits = oracle.logits(self.module, whole[:, :at], edits)
            total += float(logits.log_softmax(-1)[0, whole[0, at]])
        return total


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("continuations"))


def program(world: World, arms: str, report: str, reader: str = "jsonl") -> Path:
    path = world.folder / "continuations.cpatch"
    path.write_text(
        'model lm = "tiny-llama"\n'
        f'pairs p = {reader}("pairs.jsonl", answers: whole)\n'
        f"measure m on p {{ {arms}  report {report} }}\n"
    )
    return path


@pytest.mark.parametrize("reader", ["jsonl", "dataset"])
@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_they_are_the_whole_text_s(world: World, backend: str, reader: str) -> None:
    arms = "a = patch resid_post[1] @ END\n b = patch resid_post[3] @ END"
    path = program(world, arms, "logit_diff, prob, prob_diff, loss", reader)
    run = api.run(path, backend=backend, dtype="float64")
    assert len(run.values) == 3 * 4 * len(ROWS)
    for arm, layer in (("clean", None), ("a", 1), ("b", 3)):
        answer, foil = (
            torch.tensor([world.log_prob(r, place, layer) for r in ROWS], dtype=torch.float64)
            for place in (2, 3)
        )
        expected = {
            "logit_diff": answer - foil,
            "prob": answer.exp(),
            "prob_diff": answer.exp() - foil.exp(),
            "loss": -answer,
        }
        for metric, values in expected.items():
            found = run.results.measures["m"][arm][metric]
            assert found.mean == pytest.approx(float(values.mean()), abs=1e-9), (
                arm,
                metric,
            )
            assert found.n == len(ROWS)
    means = [run.results.measures["m"][arm]["logit_diff"].mean for arm in ("clean", "a", "b")]
    assert min(abs(x - y) for x in means for y in means if x != y) > 0.01


def test_saved_pairs_read_back(world: World, tmp_path: Path) -> None:
    path = program(world, "a = patch resid_post[1] @ END", "logit_diff")
    first = api.run(path, out=tmp_path / "run")
    saved = (tmp_path / "run" / "pairs" / "p.jsonl").read_text()
    assert [json.loads(line)["answer"] for line in saved.splitlines()] == [row[2] for row in ROWS]
    (world.folder / "saved.jsonl").write_text(saved)
    path.write_text(path.read_text().replace("pairs.jsonl", "saved.jsonl"))
    again = api.run(path)
    assert again.results.measures == first.results.measures


def test_templates_may_have_them(world: World) -> None:
    table = ["name,thing", "Mary,Bartholomew", "John,ring", "Tom,apple snack", "Amy,bone"]
    (world.folder / "things.csv").write_text("\n".join(table))
    text = """model lm = "tiny-llama"
lexicon x = table("things.csv")
prompts q { test "The {X} gave the" slots X: x answer X.thing }
pairs p = q A <-> B { test 2 %s}
"""
    path = world.folder / "templates.cpatch"
    path.write_text(text % "answers whole ")
    things = dict(line.split(",") for line in table[1:])
    test = api.check(path).families["p"].test
    assert test is not None
    for pair in test.pairs:
        for prompt, tokens in zip((pair.base, pair.source), pair.wholes, strict=True):
            assert TOKENIZER.decode(list(tokens)) == " " + things[prompt.text.split()[1]]
    path.write_text(text % "")
    with pytest.raises(ProgramError, match="only about 1"):  # of two names with one token each
        api.check(path)


@pytest.mark.parametrize(
    ("arms", "report"),
    [
        ("a = ablate resid_post[1] @ END to mean", "logit_diff"),
        ("a = ablate resid_post[1] @ END to resample", "logit_diff"),
        ("a = ablate resid_post[1] @ all to zero", "logit_diff"),
        ("a = resid_post[1] @ END -> logits { freeze all layernorm frozen }", "logit_diff"),
        ("a = patch resid_post[1] @ END", "rank"),
        ("a = patch resid_post[1] @ END", "recovered"),
        ("a = patch resid_post[1] @ END", "kl"),
    ],
)
def test_what_can_t_be_right_is_refused(world: World, arms: str, report: str) -> None:
    with pytest.raises(ProgramError, match="several"):
        api.check(program(world, arms, report))


def test_learning_from_them_is_refused(world: World) -> None:
    path = program(world, "a = patch resid_post[1] @ END", "fldd")
    text = path.read_text() + "subspace v = das(resid_post[1] @ END, on: p)\n"
    path.write_text(text)
    with pytest.raises(ProgramError, match="has answers of several tokens"):
        api.check(path)
