"""Checking while one types gives what a check of the whole text gives, after any changes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Diagnostic, ProgramError, Source
from causaldsl.editor import checking as module
from causaldsl.editor.checking import Checking
from causaldsl.editor.pieces import Pieces, cut
from causaldsl.syntax.recover import read
from tests.frontend.world import PRELUDE

BODY = """site out = resid_post[1] @ END
param steps = 2
metric lead = logit(answer) - steps * logit(" ring")
subspace v = das(out, on: flip.train, epochs: steps)
allow other-site
subspace w = random(resid_mid[0] @ END, seed: 1)
measure m on flip.test { whole = patch out  part = patch out along v  report logit_diff, fldd }
pairs more = ioi ABB <-> BAB { test 5  seed 3 }
measure n on more { whole = patch out  report fldd, lead }
sweep by_place on flip.test { for l in 0..1, p in {S2, END}: patch resid_post[l] @ p  report fldd }
table t { for s in 0..2: r = cos(v, random(out, seed: s)) }
let a = norm(w) + steps
expect m.part.fldd < m.whole.fldd and by_place[1.END].fldd > a
expect argmax(by_place.fldd) is 1.END
plot by_place
"""
CHANGES = (
    ("let a", "let b"),
    ("let a", "measure a"),
    ("resid_post[1]", "resid_post[0]"),
    ("steps = 2", "steps = 3"),
    ("along v", "along w"),
    ("report fldd", "report flood"),
    (" }", " "),
    ("S2", "S3"),
    ("seed", "sed"),
    ("plot", "render"),
    ("test 5", "test 4"),
    ("allow other-site", ""),
    ("\n", "\n\n# a comment\n"),
    ("let a", "let out = 1\nlet a"),
    ('"tiny-llama"', '"tiny-gpt2"'),
    ("subspace w", "subspace v"),
    ('model lm = "tiny-llama"\n', ""),
    ("pairs flip", "pairs flop"),
    ("metric lead", "metric lean"),
    ('logit(" ring")', "log_prob(foil)"),
)


def fresh(path: Path, text: str, opened: dict[Path, str]) -> list[Any]:
    checker = Checker(Source(str(path), text), path, opened=opened)
    try:
        checker.check()
        found: tuple[Diagnostic, ...] = ()
    except ProgramError as error:
        found = error.diagnostics
    return said(None, (*found, *(w for w in checker.program.warnings if not checker.allowed(w))))


def said(pieces: Pieces | None, found: tuple[Diagnostic, ...]) -> list[Any]:
    """What is found, with every place as the file, an offset in it and the text there."""

    def place(span: Any) -> tuple[str, int, str]:
        start = pieces.offset(span) if pieces is not None else None
        return span.source.name, span.start if start is None else start, span.text

    return sorted(
        (d.code, d.message, d.help or "", place(d.span), [place(label.span) for label in d.labels])
        for d in found
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_a_whole_check_finds(world: Path, seed: int) -> None:
    path, draw = world / "typed.cpatch", random.Random(seed)
    text, pieces = PRELUDE + BODY, None
    checking, seen = Checking(path), set()
    for _ in range(12):
        pieces = cut(str(path), text, pieces)
        found = said(pieces, checking.check(pieces, {}).found)
        assert found == fresh(path, text, {})
        seen |= {code for code, *_ in found}
        old, new = draw.choice(CHANGES)
        if draw.random() < 0.4 and new in text and new:
            old, new = new, old
        text = text.replace(old, new, 1) if old else text
        if draw.random() < 0.2:
            text = PRELUDE + BODY
    assert len(seen) > 3


def test_it_checks_again_what_a_change_touches_and_no_more(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world / "typed.cpatch"
    pieces = cut(str(path), PRELUDE + BODY)
    checking = Checking(path)
    checking.check(pieces, {})
    done: list[str] = []
    check = module.check_statement

    def noted(context: Any, statement: Any) -> None:
        done.append(statement.span.text.split("\n")[0])
        check(context, statement)

    monkeypatch.setattr(module, "check_statement", noted)
    text = PRELUDE + BODY.replace("seed: 1", "seed: 2")
    pieces = cut(str(path), text, pieces)
    checking.check(pieces, {})
    names = [" ".join(line.split()[:2]) for line in done]
    assert names == [
        "subspace w",
        "let a",
        "expect m.part.fldd",
        "expect argmax(by_place.fldd)",
        "plot by_place",
    ]


def test_a_file_that_changes_is_read_again(world: Path) -> None:
    path, words = world / "typed.cpatch", world / "few.txt"
    words.write_text("Mary\nJohn\n")
    text = 'model lm = "tiny-llama"\nlexicon few = words("few.txt")\n'
    pieces, checking = cut(str(path), text), Checking(path)
    assert len(checking.check(pieces, {}).names["few"].words) == 2
    words.write_text("Mary\nJohn\nTom\n")
    assert len(checking.check(pieces, {}).names["few"].words) == 3
    words.unlink()
    assert [d.code for d in checking.check(pieces, {}).found] == ["missing-file"]


def test_an_open_file_goes_before_the_one_on_disk(world: Path) -> None:
    path, other = world / "typed.cpatch", world / "prompts.cpatch"
    pieces = cut(str(path), f'import "prompts.cpatch"\n{BODY}')
    checking = Checking(path)
    opened = {other.resolve(): PRELUDE.replace("pairs flip", "pairs flop")}
    for texts in ({}, opened, {}):
        found = said(pieces, checking.check(pieces, texts).found)
        assert found == fresh(path, pieces.text, texts)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "corpus").glob("*.cpatch")))
def test_pieces_are_the_whole(path: Path) -> None:
    """Programs that are right have the same statements at the same places, in pieces."""
    text = path.read_text()
    tree, errors = read(Source("x", text))
    pieces = cut("x", text)
    found = [(pieces.offset(s.span), s) for s in pieces.statements()]
    assert not errors
    assert found == [(s.span.start, s) for s in tree.statements]
    assert "".join(piece.text for piece in pieces.starts) == text


def test_a_text_that_is_too_long_is_not_read() -> None:
    path = Path("long.cpatch").resolve()
    pieces = cut(str(path), "let a = 1\n" * 100_001)
    (found,) = Checking(path).check(pieces, {}).found
    assert found.code == "too-large"
    assert len(pieces.starts) == 1


CHOSEN = """sweep scan on flip.train { for l in {0, 3}: patch mlp_out[l] @ END  report logit_diff }
set best = top(1, scan.logit_diff)
measure m on flip.test {
  a = mlp_out[best] @ END -> head[2.0].q @ END -> logits { freeze none  layernorm recompute }
  report logit_diff
}
"""


def test_other_members_are_tried_for_what_a_run_chooses(world: Path) -> None:
    """A path from layer 0 is right, and one to layer 0 wrong from both; a third mistake is not
    about them."""
    path, pieces = world / "typed.cpatch", None
    checking, seen = Checking(path), []
    for text in (CHOSEN, CHOSEN.replace("2.0", "0.0"), CHOSEN.replace("2.0", "2.0]"), CHOSEN):
        pieces = cut(str(path), PRELUDE + text, pieces)
        found = said(pieces, checking.check(pieces, {}).found)
        assert found == fresh(path, PRELUDE + text, {})
        seen.append([(code, "in place of" in help) for code, _, help, *_ in found])
    assert seen[1:3] == [[("comes-before", True)], [("syntax", False)]]
    assert seen[0] == seen[3] == []
