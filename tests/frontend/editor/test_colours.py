"""Colours follow the grammar: what the parser reads as a text, number or keyword is coloured so."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pygments.token import Comment, Keyword, Name, Number, String

from causaldsl.editor.lexer import CpatchLexer
from causaldsl.syntax import grammar
from causaldsl.vocabulary.colours import TERMINALS, keywords, pieces

ROOT = Path(__file__).parents[3]
PROGRAMS = [*(ROOT / "programs").glob("*.cpatch"), *(ROOT / "tests/frontend/corpus").glob("*")]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_pieces_are_the_parser_s_tokens(path: Path) -> None:
    text = path.read_text()
    found, at = {}, 0
    for colour, piece in pieces(text):
        found[at] = (colour, piece)
        at += len(piece)
    assert at == len(text)
    steps = grammar.parser().parse_interactive(text)
    counts = dict.fromkeys(("STRING", "NUMBER", "keyword"), 0)
    for token in steps.iter_parse():
        fixed = grammar.fixed_texts().get(token.type, "").isidentifier()
        kind = "keyword" if fixed else token.type
        if kind in ("STRING", "NUMBER") or fixed:
            colour = TERMINALS.get(kind, "keyword")
            assert found[token.start_pos] == (colour, str(token))
            counts[kind] += 1
    assert counts["keyword"] > 0


def test_every_terminal_is_one_of_the_grammar() -> None:
    assert TERMINALS.keys() <= {terminal.name for terminal in grammar.parser().terminals}
    assert grammar.keywords() <= keywords()


def test_pygments_finds_the_lexer() -> None:
    text = '# one\nlet a = das(out, lr: 0.5) # "no"\nimport "x\\"y"\n'
    tokens = [(kind, value) for kind, value in CpatchLexer().get_tokens(text) if value.strip()]
    assert tokens[0] == (Comment.Single, "# one")
    assert (Keyword, "let") in tokens
    assert (Name.Builtin, "das") in tokens
    assert (Name, "a") in tokens
    assert (Number, "0.5") in tokens
    assert (Comment.Single, '# "no"') in tokens
    assert tokens[-1] == (String.Double, '"x\\"y"')
    assert "".join(value for _, value in CpatchLexer().get_tokens(text)) == text
    points = entry_points(group="pygments.lexers")
    declared = [point.load() for point in points if point.name == "cpatch"]
    assert declared in ([], [CpatchLexer])  # none where the package was installed before it


def test_a_text_that_is_never_closed_is_coloured_on() -> None:
    assert [piece for _, piece in pieces('let "a\nlet')] == ["let", " ", '"', "a", "\n", "let"]
