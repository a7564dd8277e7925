"""`where: correct` against raw PyTorch: the pairs that are left, and every number over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from causaldsl import api
from causaldsl.diagnostics import ProgramError
from causaldsl.plan.settings import Settings
from causaldsl.results.lock import lock_of
from causaldsl.studies.verify import verify
from tests import oracle
from tests.tiny import NAMES, OBJECTS, tiny_folder, tiny_tokenizer

TOKENIZER = tiny_tokenizer(bos=True)
ROWS = [
    {
        "base": f"The man gave {name}",
        "source": f"The boy gave {name}",
        "answer": f" {OBJECTS[i % 10]}",
        "foil": f" {OBJECTS[(i + 3) % 10]}",
    }
    for i, name in enumerate(NAMES[:12])
]
MEASURE = "measure m on p { a = patch resid_post[1] @ END  report logit_diff }\n"


class World:
    def __init__(self, folder: Path):
        self.folder = folder
        self.module = oracle.of_folder(tiny_folder(folder, "llama"))
        lines = [json.dumps(row) + "\n" for row in ROWS]
        (folder / "pairs.jsonl").write_text("".join(lines))

    def logits(self, text: str) -> torch.Tensor:
        tokens = torch.tensor([TOKENIZER.encode(text).ids])
        return oracle.logits(self.module, tokens)[0]

    def ld(self, row: dict[str, str]) -> float:
        x = self.logits(row["base"])
        answer, foil = (TOKENIZER.token_to_id(row[n].replace(" ", "Ġ")) for n in ("answer", "foil"))
        return float(x[answer] - x[foil])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("right"))


@pytest.fixture(autouse=True)
def there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)


def program(pairs: str) -> str:
    return f'model lm = "tiny-llama"\npairs p = {pairs}\n{MEASURE}'


@pytest.mark.parametrize("reader", ["jsonl", "dataset"])
def test_pairs_that_are_right_are_left(world: World, reader: str) -> None:
    text = program(f'{reader}("pairs.jsonl", where: correct)') + "expect m.clean.logit_diff > 0\n"
    right = [row for row in ROWS if world.ld(row) > 0]
    assert 2 <= len(right) < len(ROWS)
    run = api.run(text, dtype="float64")
    whole = run.program.families["p"].whole
    assert whole is not None
    assert [pair.base.text for pair in whole.pairs] == [row["base"] for row in right]
    clean = run.results.measures["m"]["clean"]["logit_diff"]
    assert clean.n == len(right)
    assert clean.mean == pytest.approx(sum(map(world.ld, right)) / len(right), abs=1e-9)
    assert run.results.expectations[0].n == len(right)
    said = f"p: {len(right)} of 12 pairs kept, which the model gets right"
    assert any(said in note for note in run.results.notes)
    # Nothing but the pairs is other than where only these stand in the file.
    lines = [json.dumps(row) + "\n" for row in right]
    (world.folder / "right.jsonl").write_text("".join(lines))
    alone = api.run(program(f'{reader}("right.jsonl")'), dtype="float64")
    assert alone.results.measures["m"] == run.results.measures["m"]
    assert len(api.check(text).families["p"].whole or ()) == len(ROWS)


def test_without_a_foil_the_likeliest_token_counts(world: World) -> None:
    rows = [
        {"base": f"The {who} gave {name}", "source": f"A {who} {name}", "answer": " ring"}
        for name in NAMES
        for who in ("man", "girl", "dog")
    ]
    wanted = 0
    for row in rows:
        likeliest = TOKENIZER.id_to_token(int(world.logits(row["base"]).argmax()))
        if likeliest.startswith("Ġ") and likeliest[1:].isalpha():
            row["answer"], wanted = likeliest.replace("Ġ", " "), wanted + 1
    assert 2 <= wanted < len(rows)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (world.folder / "alone.jsonl").write_text(text)
    run = api.run(program('jsonl("alone.jsonl", where: correct)').replace("logit_diff", "accuracy"))
    accuracy = run.results.measures["m"]["clean"]["accuracy"]
    assert (accuracy.n, accuracy.mean) == (wanted, 1.0)


def test_templates_and_splits(world: World) -> None:
    text = """model lm = "tiny-llama"
lexicon name = words(["Mary", "John", "Tom", "Anna", "Kate", "Paul", "Luke", "Emma"])
prompts q { train "The man {X} gave" test "When {X} said" slots X: name answer " ring" foil X }
pairs p = q A <-> B { train 8  test 8  where correct }
subspace v = pca(resid_post[1] @ END, on: p.train)
measure m on p.test { a = patch resid_post[1] @ END along v  report positive_rate }
"""
    run = api.run(text)
    everything = api.check(text).families["p"].parts
    for part, pairs in run.program.families["p"].parts.items():
        asked = [(p.base.text, p.answer, p.foil) for p in everything[part].pairs]
        right = [
            (base, a, f) for base, a, f in asked if float((x := world.logits(base))[a] - x[f]) > 0
        ]
        assert [(p.base.text, p.answer, p.foil) for p in pairs.pairs] == right
    assert run.results.measures["m"]["clean"]["positive_rate"].mean == 1


def test_too_few_are_an_error_with_their_number(world: World) -> None:
    wrong = [row for row in ROWS if world.ld(row) < 0][:3]
    text = "".join(json.dumps(row) + "\n" for row in wrong)
    (world.folder / "wrong.jsonl").write_text(text)
    asked = program('jsonl("wrong.jsonl", where: correct)')
    with pytest.raises(ProgramError) as refused:
        api.run(asked)
    (problem,) = refused.value.diagnostics
    assert problem.code == "few-right"
    assert "gets 0 of the 3 pairs `p` right" in problem.message
    assert problem.span.source.text[problem.span.start :].startswith('jsonl("wrong.jsonl"')


def test_a_run_is_verified_and_its_claims_are_registered(world: World, tmp_path: Path) -> None:
    path = world.folder / "locked.cpatch"
    path.write_text(
        program('jsonl("pairs.jsonl", where: correct)') + "expect m.clean.logit_diff > 0\n"
    )
    compiled = api.compile(path)
    lock = lock_of(compiled.program, compiled.graph, 0)
    other = api.compile(program('jsonl("pairs.jsonl")') + "expect m.clean.logit_diff > 0\n")
    assert lock_of(other.program, other.graph, 0).claims != lock.claims
    run = api.run_compiled(compiled, Settings(), tmp_path / "run", lock=lock)
    assert [claim.registered for claim in run.results.expectations] == [True]
    found = verify(tmp_path / "run")
    assert found.same, found.wrong
    saved = (tmp_path / "run" / "pairs" / "p.jsonl").read_text().splitlines()
    assert len(saved) == run.results.measures["m"]["clean"]["logit_diff"].n
