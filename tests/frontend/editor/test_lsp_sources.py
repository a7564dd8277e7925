"""Named sources of pairs in the language server: definition, references, hover and rename."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from tests.frontend.editor.client import Client, Refused, edited, inside
from tests.frontend.world import PRELUDE

pytest.importorskip("pygls", reason="the extra `editor` is not installed")

PAIRS = "pairs two = ioi ABB <- {order: BAB, S2: CDC} { train 4  test 4 }\n"
BODY = """pairs three = ioi ABB <- {order: BAB, other: CDC} { test 4 }
site out = resid_post[1] @ END
run half = base with patch out from order
measure m on two.test {
  order = patch out from order
  typical = patch out from mean(two.test.order)
  part = patch out along v from order + patch mlp_out[0] @ END from S2
  inside = only {1.0, 1.1} else order
  apart = cut heads[1] @ END from S2
  in_run = patch resid_post[0] @ END from half
  report logit_diff
}
measure n on three.test { a = patch out from order  b = patch out from other  report logit_diff }
expect m.order.logit_diff < m.part.logit_diff
"""
VECTOR = "subspace v = random(resid_post[1] @ END, seed: 1)\n"
PROGRAM = PRELUDE + PAIRS + VECTOR + BODY
UNUSED = {"unused-definition"}
"""`flip` is what nothing uses here."""


@pytest.fixture
def program(client: Client, world: Path) -> Iterator[Path]:
    path = world / "sources.cpatch"
    client.write(path, PROGRAM)
    client.found(path, UNUSED)
    yield path
    client.close(path)


def codes(text: str, path: Path) -> list[str]:
    return [warning.code for warning in Checker(Source("after", text), path).check().warnings]


def test_where_a_source_is_named(client: Client, program: Path) -> None:
    for sought in (
        "out from |order",
        "two.test.|order",
        "else ord|er",
        "three = ioi ABB <- {|order",
    ):
        answer = client.at(program, sought, "definition")
        line = PROGRAM.split("\n")[answer["range"]["start"]["line"]]
        assert inside(PROGRAM, answer["range"]) == "order"
        assert line.startswith("pairs two")
    found = client.at(
        program, "{|order: BAB, S2", "references", context={"includeDeclaration": True}
    )
    arms = ("  order = patch", "expect m.order")
    uses = list(re.finditer(r"\border\b", PROGRAM))
    lines = [PROGRAM[: m.start()].count("\n") for m in uses]
    ours = [n for n, m in zip(lines, uses, strict=True) if not _is_arm(m.start(), arms)]
    assert sorted(one["range"]["start"]["line"] for one in found) == ours
    assert (
        "a source of pairs" in client.at(program, "out from |order", "hover")["contents"]["value"]
    )


def _is_arm(at: int, arms: tuple[str, ...]) -> bool:
    return any(PROGRAM.find(arm) <= at < PROGRAM.find(arm) + len(arm) for arm in arms)


def test_rename_of_a_source(client: Client, program: Path) -> None:
    """The arm of the same name stays, and the position of the name of the other source."""
    uri = program.as_uri()
    edits = client.at(program, "else |order", "rename", newName="swapped")["changes"][uri]
    after = edited(PROGRAM, edits)
    kept = PROGRAM.replace("order", "swapped").replace("  swapped = patch", "  order = patch")
    assert after == kept.replace("expect m.swapped", "expect m.order")
    assert codes(after, program) == codes(PROGRAM, program)
    edits = client.at(program, "mlp_out[0] @ END from |S2", "rename", newName="names")["changes"][
        uri
    ]
    after = edited(PROGRAM, edits)
    first = PROGRAM.replace("BAB, S2: CDC", "BAB, names: CDC")
    assert after == first.replace("mlp_out[0] @ END from S2", "mlp_out[0] @ END from names")
    edits = client.at(program, "heads[1] @ END from |S2", "rename", newName="SUBJ")["changes"][uri]
    after = edited(PROGRAM, edits)
    first = PROGRAM.replace("S2 = B.2", "SUBJ = B.2")
    assert after == first.replace("heads[1] @ END from S2", "heads[1] @ END from SUBJ")


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("other", "`other` is taken"),
        ("out", "`out` is taken"),
        ("base", "would mean something else"),
    ],
)
def test_rename_of_a_source_is_refused(client: Client, program: Path, new: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        client.at(program, "else |order", "rename", newName=new)


def test_a_source_of_another_file(client: Client, world: Path) -> None:
    shared, path = world / "shared_pairs.cpatch", world / "uses_pairs.cpatch"
    shared.write_text(PRELUDE + PAIRS)
    text = 'import "shared_pairs.cpatch"\n' + VECTOR + BODY
    client.write(path, text)
    client.found(path, set())
    answer = client.at(path, "part = patch out along v from |order", "definition")
    assert answer["uri"] == path.as_uri()  # `three` names one too
    answer = client.at(path, "mlp_out[0] @ END from |S2", "definition")
    assert answer["uri"] == shared.as_uri()
    assert inside(PRELUDE + PAIRS, answer["range"]) == "S2"
    changes = client.at(path, "mlp_out[0] @ END from |S2", "rename", newName="names")["changes"]
    assert edited(text, changes[path.as_uri()]) == text.replace(
        "mlp_out[0] @ END from S2", "mlp_out[0] @ END from names"
    )
    assert edited(PRELUDE + PAIRS, changes[shared.as_uri()]) == PRELUDE + PAIRS.replace(
        "S2: CDC", "names: CDC"
    )
    with pytest.raises(Refused, match="would mean something else"):
        client.at(path, "else |order", "rename", newName="swapped")
    client.close(path)
