"""Every example in README and docs checks; the reference is the vocabulary; links resolve."""

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.program import Checker
from causaldsl.cli import _parser
from causaldsl.diagnostics import Source
from causaldsl.model.catalog import catalog
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast
from causaldsl.syntax.parse import parse
from causaldsl.vocabulary.statements import STATEMENTS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name != "templates"),
]
EXAMPLES = [
    (page, number, block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```cpatch\n(.*?)^```", page.read_text(), re.M | re.S)
    )
]

needs_model = pytest.mark.skipif(
    not next(entry.present for entry in catalog() if entry.name == "smollm2-135m"),
    reason="smollm2-135m is not on this machine: causaldsl models pull smollm2-135m",
)


@pytest.fixture(scope="module")
def tokenized_once() -> Iterator[None]:
    """The tokenizer is read once for all examples, and cuts the same prompts once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokens, "load", cache(Tokens.load))
        patch.setattr(Tokens, "encode", lru_cache(20_000)(Tokens.encode))
        yield


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


@needs_model
@pytest.mark.usefixtures("tokenized_once")
@pytest.mark.parametrize(
    ("page", "number", "text"), EXAMPLES, ids=[f"{p.stem}-{n}" for p, n, _ in EXAMPLES]
)
def test_examples_check(page: Path, number: int, text: str) -> None:
    if not re.search(r"^(model|import) ", text, re.MULTILINE):
        text = f'import "ioi.cpatch"\n{text}'
    Checker(Source(page.name, text), ROOT / "programs" / "example.cpatch").check()


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_reference.py"))["reference"]()
    assert made == (ROOT / "docs/reference.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_rows_of_a_table_are_of_one_width(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.M | re.S)
    for table in re.findall(r"(?:^ *\|.*\n?)+", text, re.M):
        rows = [row.strip() for row in table.splitlines()]
        assert len(rows) > 2, f"a row in no table: {rows[0]}"
        assert re.fullmatch(r"[|:\- ]+", rows[1]), f"no line under the head: {rows[0]}"
        widths = {row: len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(set(widths.values())) == 1, widths
        assert all(row.endswith("|") for row in rows), rows


def test_the_page_of_codes_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_codes.py"))["page"]()
    assert made == (ROOT / "docs/codes.md").read_text()


@pytest.mark.parametrize("name", ["architecture", "glossary", "models"])
def test_the_made_part_of_a_page_is_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    page = (ROOT / f"docs/{name}.md").read_text()
    assert runpy.run_path(str(ROOT / f"docs/make_{name}.py"))["page"](page) == page


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("[!R]*.md")), ids=lambda p: p.stem)
def test_a_page_begins_with_what_it_is_for_and_where_to_go_instead(path: Path) -> None:
    _title, empty, *lines = path.read_text().splitlines()[:5]
    assert empty == ""
    assert lines[0].startswith("For "), lines[0]
    assert "](" in "".join(lines), "name the page for those who look for something else"


def test_the_reference_has_every_statement_of_the_grammar() -> None:
    grammar = (ROOT / "grammar/causaldsl.lark").read_text()
    (rules,) = re.findall(r"^\?statement:((?:.*\n\s+\|)*.*)$", grammar, re.M)
    assert re.findall(r"\w+", rules) == list(STATEMENTS)
    words = re.findall(r'^(\w+): "(\w+)"', grammar, re.M)
    assert {r: w for r, w in words if r in STATEMENTS} == {
        rule: statement.form.split()[0] for rule, statement in STATEMENTS.items()
    }


def test_make_made_runs_every_fast_generator() -> None:
    """make_agreement needs a file that is not ours, and make_claims takes ten minutes."""
    (made,) = re.findall(r"^MADE := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    there = {path.stem.removeprefix("make_") for path in (ROOT / "docs").glob("make_*.py")}
    assert set(made.split()) == there - {"agreement", "claims"}


def made_experiments() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/make_experiments.py"))


def test_the_experiments_are_what_was_measured() -> None:
    """Every number of ours on the pages is that of a run's results."""
    pages = made_experiments()["pages"]()
    assert len(pages) >= 13
    for page, text in pages.items():
        assert page.read_text() == text, page.name
        assert "could not be read" not in text, page.name


def test_another_result_makes_another_page() -> None:
    made = made_experiments()
    template = "{{ci effects.v_mlp.fldd}}, {{number share}}, {{cells baseline.cosine}}"
    results = made["measured"]("mlp_in_the_middle")
    results["measures"]["effects"]["v_mlp"]["fldd"] = {"mean": 9.876, "low": -0.001, "high": 10}
    results["numbers"]["share"] = -0.004
    results["tables"]["baseline"]["cells"]["cosine"] = {"0": 1.0, "1": 2.0}
    made["filled"].__globals__["measured"] = lambda name: results
    text = made["filled"](template, "mlp_in_the_middle")
    assert text == "9.88 [0.00, 10.00], 0.00, 1.50 (1.00 to 2.00)"
    with pytest.raises(KeyError, match=r"number nothing.*is not in what was measured"):
        made["filled"]("{{number nothing}}", "mlp_in_the_middle")


MEASURED = sorted((ROOT / "docs/experiments/measured").glob("*.json"))


@pytest.mark.parametrize("path", MEASURED, ids=lambda p: p.stem)
def test_what_was_measured_is_of_this_program(path: Path) -> None:
    """A program that has changed has to be run again: `docs/make_experiments.py RUN_FOLDER`."""
    if path.stem == "tokenizers":
        words = len((ROOT / "programs/lexicons/names.txt").read_text().split())
        assert {m["names"]["words"] for m in json.loads(path.read_text()).values()} == {words}
        return
    text = json.loads(path.read_text())["provenance"]["program_text"]
    name = re.sub(r"_seed\d+$", "", path.stem)
    places = (ROOT / folder / f"{name}.cpatch" for folder in ("programs", "docs/experiments"))
    assert measuring(text) == measuring(next(p for p in places if p.exists()).read_text())


def measuring(text: str) -> list[ast.Statement]:
    """The statements of a program that its numbers depend on: all but the claims."""
    statements = parse(Source("program", text)).statements
    return [one for one in statements if not isinstance(one, ast.Expect)]


def test_every_command_is_documented() -> None:
    (commands,) = (a for a in _parser()._actions if isinstance(a.choices, dict))
    text = "".join(page.read_text() for page in PAGES)
    missing = [name for name in commands.choices if f"causaldsl {name}" not in text]
    assert not missing
    page = (ROOT / "docs" / "studies.md").read_text()
    for name in ("lock", "verify", "diff", "replicate", "power", "bundle"):
        assert f"$ causaldsl {name} " in page, name
        assert "--json" in commands.choices[name].format_help(), name


def test_the_pictures_of_the_policies_are_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_policies.py"))["pictures"]()
    assert len(made) == 6
    for name, svg in made.items():
        assert svg == (ROOT / "docs/images" / name).read_text(), name


def test_the_floors_are_drawn_as_they_are_held() -> None:
    """From the top down, as in the contract of `lint-imports`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = " ".join(settings["contracts"][0]["layers"]).replace("causaldsl.", "")
    drawing = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    drawn = re.findall(r"^ (\w+(?:  \w+)*)   ", drawing, re.M)
    assert " ".join(drawn).split() == re.findall(r"\w+", layers)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
