"""Named sources count wherever a prompt does: lengths, positions, what was learned from, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source
from causaldsl.graph.compiler import compile_program
from causaldsl.report.saved_pairs import saved_lines
from tests.frontend.world import make_world

MODEL = 'model lm = "tiny-gpt2"\n'
ANSWERS = {"answer": " book", "foil": " snack"}
SHORT, LONG = "The boy gave Mary the ring", "Then the girl with the book gave Kate the ring"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("named"))


def checked(text: str, world: Path):  # type: ignore[no-untyped-def]
    return Checker(Source("case.cpatch", MODEL + text), world / "case.cpatch").check()


@pytest.mark.parametrize("length", [6, None])
def test_an_index_is_refused_where_a_named_source_has_another_length(
    length: int | None, world: Path
) -> None:
    row = {"base": "The man gave Mary the ring", "x": SHORT, "y": LONG, **ANSWERS}
    about = {"word_idxs": {"who": 3}} | ({} if length is None else {"seq_len": length})
    (world / "idx.json").write_text(json.dumps({**about, "examples": [row] * 2}))
    use = "measure m on p { a = patch resid_post[1] @ WHO from y  report logit_diff }"
    with pytest.raises(ProgramError) as refused:
        checked(f'pairs p = dataset("idx.json", sources: ["x", "y"])\n{use}', world)
    said = str(refused.value.diagnostics[0].help)
    assert "are not the 6 tokens that `word_idxs` is for" in said
    (world / "idx.json").write_text(json.dumps({**about, "examples": [row | {"y": SHORT}] * 2}))
    checked(f'pairs p = dataset("idx.json", sources: ["x", "y"])\n{use}', world)


def test_what_was_learned_from_a_source_is_not_measured_on_it(world: Path) -> None:
    bases = ["The man gave", "The boy gave", "The girl gave"]
    lines = [{"base": b, "source": f"Then {b}", **ANSWERS} for b in bases]
    (world / "learned.jsonl").write_text("\n".join(map(json.dumps, lines)))
    lines = [{"base": b, "sources": {"s": "Mary gave", "x": f"Then {b}"}, **ANSWERS} for b in bases]
    (world / "several.jsonl").write_text("\n".join(map(json.dumps, lines)))
    learned = (
        'pairs tr = jsonl("learned.jsonl")\npairs p = jsonl("several.jsonl")\n'
        "subspace v = das(resid_post[1] @ END, on: tr, epochs: 2)\n"
    )
    with pytest.raises(ProgramError, match="this was made from 3 of the 3 pairs it is measured on"):
        checked(
            learned
            + "measure m on p { a = patch resid_post[1] @ END from x along v  report fldd }",
            world,
        )


def test_the_longest_prompt_may_be_a_named_source(world: Path) -> None:
    row = {"base": SHORT, "sources": {"x": SHORT, "y": LONG}, **ANSWERS}
    (world / "long.jsonl").write_text(json.dumps(row))
    use = "measure m on p { a = patch resid_post[1] @ END from y  report logit_diff }"
    program = checked(f'pairs p = jsonl("long.jsonl")\n{use}', world)
    (pair,) = program.families["p"].whole.pairs
    longest = max(prompt.length for prompt in pair.prompts)
    assert longest > max(pair.base.length, pair.source.length)
    assert compile_program(program).longest_prompt == longest


def test_saved_pairs_keep_the_positions_that_only_some_sources_have(world: Path) -> None:
    text = """
lexicon name = words("names.txt")
prompts v {
  test "Then {X} and {Y} went to the shop and {Z} gave"
  slots X Y Z: name
  answer A  foil B
  position IO = A.1
}
pairs flip = v ABB <- {names: CDC, order: BAB} { test 6 }
measure m on flip.test { a = patch resid_post[1] @ IO from order  report logit_diff }
"""
    program = checked(text, world)
    pairs = program.families["flip"].test
    assert pairs is not None
    lines = saved_lines(pairs, program.tokens)
    assert set(json.loads(lines[0])["positions"]["IO"]) == {"base", "order"}
    (world / "saved.jsonl").write_text("\n".join(lines))
    again = (
        checked(
            'pairs p = jsonl("saved.jsonl")\n'
            "measure m on p { a = patch resid_post[1] @ IO from order  report logit_diff }",
            world,
        )
        .families["p"]
        .whole
    )
    assert again is not None
    assert again.digest == pairs.digest


def test_the_first_source_of_a_table_has_its_positions(world: Path) -> None:
    row = {"base": SHORT, "x": SHORT, "y": LONG, **ANSWERS}
    row |= {"positions": {"WHO": {"base": "Mary", "x": "Mary", "y": "Kate"}}}
    (world / "table.jsonl").write_text(json.dumps(row))
    checked(
        'pairs p = dataset("table.jsonl", sources: ["x", "y"])\n'
        "measure m on p { a = patch resid_post[1] @ WHO  report logit_diff }",
        world,
    )
