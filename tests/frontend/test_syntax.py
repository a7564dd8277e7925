"""Parse, format, parse again: equal trees, in the house style. Every syntax error is found."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source
from causaldsl.syntax import ast
from causaldsl.syntax.format import format_program, show
from causaldsl.syntax.grammar import keywords, parser, statement_words, words
from causaldsl.syntax.parse import parse, tree_text
from causaldsl.syntax.recover import MOST, read
from tests.frontend.world import PRELUDE

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
PROGRAMS = sorted([*ROOT.glob("programs/*.cpatch"), *CORPUS.glob("*.cpatch")])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.name)
def test_formatting_keeps_the_meaning_and_the_comments(path: Path) -> None:
    program = parse(Source(path.name, path.read_text()))
    text = format_program(program)
    again = parse(Source("again", text))
    assert again == program
    assert [c.text for c in again.comments] == [c.text for c in program.comments]
    assert format_program(again) == text


@pytest.mark.parametrize("path", sorted(ROOT.glob("programs/*.cpatch")), ids=lambda p: p.name)
def test_shipped_programs_are_in_the_house_style(path: Path) -> None:
    assert format_program(parse(Source(path.name, path.read_text()))) == path.read_text()


def test_a_head_index_is_no_fraction() -> None:
    program = parse(Source("x", "site a = head[7.10].z @ END"))
    number = next(n for n in program.walk() if isinstance(n, ast.Number))
    assert number.text == "7.10"


def test_spans_cover_what_they_name() -> None:
    program = parse(Source("x", 'let a = cos(u, v) + 2  # why\nlet b = "t"'))
    spans = {type(n).__name__: n.span.text for n in program.walk()}
    assert spans["Call"] == "cos(u, v)"
    assert spans["BinarySum"] == "cos(u, v) + 2"
    assert [c.text for c in program.comments] == ["# why"]


def test_tree_text_is_stable() -> None:
    assert tree_text(parse(Source("x", "let a = -b[2].c"))) == (
        "Program  1:1\n  Let  1:1\n    Identifier 'a'  1:5\n    Negative  1:9\n"
        "      Attribute  1:10\n        Index  1:10\n          Name 'b'  1:10\n"
        "          Number '2'  1:12\n        Identifier 'c'  1:15"
    )


_NAMES = st.sampled_from(["a", "b", "v_mlp", "W_out"])
_LEAVES = st.one_of(_NAMES, st.integers(0, 99).map(str), st.just("2.5e-3"))


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(inner, operators, inner).map(lambda t: f"{t[0]}{t[1]} {t[2]}"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(_NAMES, inner).map(lambda t: f"{t[0]}({t[1]}, on: {t[1]})"),
        st.tuples(_NAMES, inner).map(lambda t: f"{t[0]}[{t[1]}].part"),
        st.lists(inner, min_size=1, max_size=3).map(lambda t: f"[{', '.join(t)}]"),
    )


@given(st.recursive(_LEAVES, _compound, max_leaves=12))
@settings(max_examples=150, deadline=None)
def test_any_expression_survives_formatting(text: str) -> None:
    program = parse(Source("x", f"let x = {text}"))
    assert parse(Source("y", format_program(program))) == program


@given(st.text(alphabet='ab1".@[](){}+-*<>=# \n', max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_says_why(text: str) -> None:
    found = []
    try:
        parse(Source("x", text))
    except ProgramError as error:
        found = list(error.diagnostics)
    assert all(0 <= d.span.start <= len(text) and d.message for d in found)


@given(
    st.sampled_from(["everything.cpatch", "paths.cpatch"]),
    st.sets(st.integers(0, 400), min_size=1, max_size=5),
)
@settings(max_examples=100, deadline=None)
def test_comments_anywhere_survive_formatting(name: str, places: set[int]) -> None:
    """Also in the middle of a statement: in any white space that is not in a text or a comment."""
    pieces = re.split(r'("[^"\n]*"|#[^\n]*|\s+)', (CORPUS / name).read_text())
    gaps = [i for i, piece in enumerate(pieces) if piece and not piece.strip()]
    for place in places:
        pieces[gaps[place % len(gaps)]] = f"  # c{place}\n"
    program = parse(Source("x", "".join(pieces)))
    text = format_program(program)
    again = parse(Source("y", text))
    assert again == program
    assert [c.text for c in again.comments] == [c.text for c in program.comments]
    assert format_program(again) == text


def test_keywords_are_the_words_in_quotes_of_the_grammar() -> None:
    assert {"let", "use", "on", "to", "in", "report"} <= keywords()
    assert not {"along", "by", "top", "position", "train", "logits"} & keywords()
    page = (ROOT / "docs/language.md").read_text()
    (listed,) = re.findall(r"words that begin statements, and `([a-z ]+)`", page)
    assert {*listed.split(), *statement_words().values()} == keywords()


def test_what_can_be_defined_can_be_patched() -> None:
    """Behind a verb the parser takes no word for itself but keywords."""
    verb = parser().parse_interactive("measure m on p { a = patch")
    verb.exhaust_lexer()
    assert {word for name in verb.choices() for word in words().get(name, ())} <= keywords()


@pytest.mark.parametrize("word", sorted(keywords()))
def test_a_keyword_is_refused_where_it_is_defined(word: str) -> None:
    texts = [
        f"site {word} = embed @ END",
        f"param {word} = 3",
        f"measure {word} on p {{ a = q  report fldd }}",
        f"measure m on p {{ {word} = patch s  report fldd }}",
        f"measure m on p {{ a = ablate s to zero  {word} = patch s  report fldd }}",
        f"sweep m on p {{ for {word} in 0..1: patch s  report fldd }}",
        f"table t {{ for l in 0..1: {word} = l }}",
        f"histogram h on p {{ {word} = v at s }}",
        f'prompts p {{ train "{{X}}" slots {word}: name }}',
        f"prompts p {{ position {word} = A.1 }}",
    ]
    for text in texts:
        program, errors = read(Source("x", text))
        assert [(d.code, d.span.text) for d in errors] == [("keyword", word)], text
        assert not any(isinstance(s, ast.Broken) for s in program.statements)


def test_every_statement_has_a_printer() -> None:
    def leaves(cls: type[ast.Node]) -> set[type]:
        below = cls.__subclasses__()
        return set().union(*map(leaves, below)) if below else {cls}

    found = {type(n) for path in PROGRAMS for n in parse(Source("x", path.read_text())).walk()}
    assert leaves(ast.Statement) - {ast.Broken} <= found
    assert leaves(ast.Expression) <= found


def test_a_name_begins_with_no_keyword() -> None:
    with pytest.raises(ProgramError, match="`lettuce` can't stand here"):
        parse(Source("x", 'render graph as "g.svg" lettuce = 3'))


def test_a_head_of_a_layer(world: Path) -> None:
    text = PRELUDE + "sweep s on flip.test { for l in 1..2: patch head[l.0].z @ END  report fldd }"
    program = Checker(Source("x", text), world / "x").check()
    runs = program.measurements["s"].runs[1:]
    assert [str(run.interventions[0].operand("site")) for run in runs] == [
        "head[1.0].z @ END",
        "head[2.0].z @ END",
    ]


def test_a_clause_may_begin_with_any_word() -> None:
    text = "measure m on p { a = swap s toward v over (u + w) by -3 b = q  report fldd }"
    measure = parse(Source("x", text)).statements[0]
    assert isinstance(measure, ast.Measure)
    (part,) = measure.arms[0].interventions.parts
    assert isinstance(part, ast.Intervention)
    assert [(c.word, show(c.value)) for c in part.clauses] == [
        ("toward", "v"),
        ("over", "u + w"),
        ("by", "-3"),
    ]
    assert [arm.name.text for arm in measure.arms] == ["a", "b"]


def test_threads_can_parse_at_once() -> None:
    texts = [path.read_text() for path in PROGRAMS] * 3
    alone = [parse(Source("x", text)) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: parse(Source("x", text)), texts))
    assert together == alone
    assert [t.comments for t in together] == [t.comments for t in alone]


def test_a_broken_statement_names_what_it_would_define() -> None:
    text = 'imprt "a.cpatch"\nsite s = (\nmesure m on p { a = q report fldd }\nexpect m <\n] let a'
    program, errors = read(Source("x", text))
    broken = [s for s in program.statements if isinstance(s, ast.Broken)]
    assert [(b.keyword, b.name and b.name.text) for b in broken] == [
        ("import", None),
        ("site", "s"),
        ("measure", "m"),
        ("expect", None),
    ]
    assert len(errors) == 4


def test_a_flood_of_syntax_errors_is_counted() -> None:
    program, errors = read(Source("x", "let a = (\n" * 500 + "let to = 3\n" * 500))
    assert len(program.statements) == 1000
    assert len(errors) == MOST + 1
    assert errors[-1].message == f"syntax errors that are not shown: {1000 - MOST}"


_TREES = [parse(Source(path.name, path.read_text())) for path in PROGRAMS]


@st.composite
def _garbled(draw: st.DrawFn) -> tuple[int, int, str]:
    """A program, one of its statements, both by number, and that statement's text, garbled."""
    program = draw(st.integers(0, len(_TREES) - 1))
    number = draw(st.integers(0, len(_TREES[program].statements) - 1))
    text = _TREES[program].statements[number].span.text
    at = draw(st.sampled_from([i for i, char in enumerate(text) if char in " (["]))
    word = text.split()[0]
    inserted = [f"{text[:at]} {junk} {text[at:]}" for junk in ("$", ")", '"', "of", "report", "..")]
    others = [
        text[:at],
        f"{word}{text}",
        word[:-1] + text[len(word) :],
        "",
        text[:at] + text[at + 1 :],
    ]
    return program, number, draw(st.sampled_from(inserted + others))


@given(_garbled())
@settings(max_examples=200, deadline=None)
def test_one_garbled_statement_costs_only_itself(case: tuple[int, int, str]) -> None:
    program, number, garbled = _TREES[case[0]], case[1], case[2]
    span = program.statements[number].span
    before, after = span.source.text[: span.start], span.source.text[span.end :]
    found, errors = read(Source("x", before + garbled + after))
    inside = range(span.start, span.start + len(garbled) + 1)
    assert [s for s in found.statements if s.span.start not in inside] == [
        s for i, s in enumerate(program.statements) if i != number
    ]
    broken = [s for s in found.statements if isinstance(s, ast.Broken)]
    assert len(broken) <= len(errors) <= 1
    assert all(e.span.start in inside and e.span.end - 1 in inside for e in errors)
