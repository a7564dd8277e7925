"""Every example in README and docs checks; the reference is the vocabulary; links resolve."""

import re
import runpy
from pathlib import Path

import pytest

from causaldsl.check.program import Checker, check_file
from causaldsl.cli import _parser
from causaldsl.diagnostics import Source
from causaldsl.model.catalog import catalog
from causaldsl.vocabulary.statements import STATEMENTS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


@needs_model
@pytest.mark.parametrize(
    ("page", "number", "text"), EXAMPLES, ids=[f"{p.stem}-{n}" for p, n, _ in EXAMPLES]
)
def test_examples_check(page: Path, number: int, text: str) -> None:
    if not re.search(r"^(model|import) ", text, re.MULTILINE):
        text = f'import "ioi.cpatch"\n{text}'
    Checker(Source(page.name, text), ROOT / "programs" / "example.cpatch").check()


@needs_model
@pytest.mark.parametrize("path", sorted(ROOT.glob("programs/*.cpatch")), ids=lambda p: p.name)
def test_programs_check(path: Path) -> None:
    assert check_file(path).model is not None


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_reference.py"))["reference"]()
    assert made == (ROOT / "docs/reference.md").read_text()


def test_the_table_of_families_is_up_to_date() -> None:
    page = (ROOT / "docs/models.md").read_text()
    assert runpy.run_path(str(ROOT / "docs/make_models.py"))["page"](page) == page


def test_the_reference_has_every_statement_of_the_grammar() -> None:
    grammar = (ROOT / "grammar/causaldsl.lark").read_text()
    (rules,) = re.findall(r"^\?statement:((?:.*\n\s+\|)*.*)$", grammar, re.M)
    assert re.findall(r"\w+", rules) == list(STATEMENTS)
    words = re.findall(r'^(\w+): "(\w+)"', grammar, re.M)
    assert {r: w for r, w in words if r in STATEMENTS} == {
        rule: statement.form.split()[0] for rule, statement in STATEMENTS.items()
    }


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


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
