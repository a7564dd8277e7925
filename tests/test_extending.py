"""docs/extending.md does what it says: its blocks are put where they belong, and run."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.cli import main
from causaldsl.plan.settings import BACKENDS
from causaldsl.vocabulary.register import BUILT_IN, PACKAGES
from tests.engine.test_passes import compare
from tests.frontend.world import make_world

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^(File|Added to) `([^`]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S)
OUTSIDE = ("pyproject.toml", "lab.cpatch", "my_lab_words/")
NAMES = ("Mary", "John", "Tom", "Amy")


def blocks(outside: bool) -> list[tuple[str, str, str]]:
    return [(how, path, text) for how, path, text in BLOCKS if path.startswith(OUTSIDE) == outside]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A world with the page's package installed in it."""
    make_world(tmp_path)
    for _, path, text in blocks(outside=True):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    project = (tmp_path / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"', project, re.M)
    (point,) = re.findall(r'^(my_lab_words) = "(.*)"', project, re.M)
    info = tmp_path / f"my_lab_words-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: my_lab_words\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[causaldsl.words]\n{point[0]} = {point[1]}\n")
    rows = [
        f"The {who} gave {a} the;The {who} gave {b} the; book; ring"
        for who in ("man", "boy", "girl")
        for a, b in zip(NAMES[::2], NAMES[1::2], strict=False)
    ]
    (tmp_path / "pairs.csv").write_text("base;source;answer;foil\n" + "\n".join(rows) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget_package()


def forget_package() -> None:
    """As in a process that has not imported it."""
    for module in [m for m in sys.modules if m.partition(".")[0] == "my_lab_words"]:
        del sys.modules[module]
    PACKAGES.clear()


@pytest.mark.parametrize("backend", BACKENDS)
def test_words_of_a_package_are_like_all_others(lab: Path, backend: str) -> None:
    run = api.run(lab / "lab.cpatch", backend=backend, dtype="float64", out=lab / "run")
    assert run.held
    results = run.results
    assert results.provenance["packages"] == {"my_lab_words": "1.2"}
    assert 0 < results.numbers["same"] <= 1
    assert run.subspaces["s"]["basis"].shape[1] == 1
    assert {"a", "half", "none", "gone", "clean"} == results.measures["m"].keys()
    margins = [results.measures["m"][arm]["margin"].mean for arm in ("none", "half", "clean")]
    assert len(set(margins)) == 3
    page = (lab / "run" / "report.html").read_text()
    assert "The direction along which the gradients" in page
    assert "Mean lead of the answer over the best other token" in page
    assert "my_lab_words" in page
    compare(run.program, backend)
    assert not {"margin", "overlap", "steepest", "reach", "scale", "my_csv"} & BUILT_IN.words()


def test_its_margin_is_what_its_formula_says(lab: Path) -> None:
    """Beside the answer's lead over the foil, which the margin can't be above."""
    text = (lab / "lab.cpatch").read_text().replace("margin, fldd", "margin, logit_diff")
    (lab / "both.cpatch").write_text(text)
    both = api.run(lab / "both.cpatch", dtype="float64").results.measures["m"]
    for arm in both.values():
        assert arm["margin"].mean <= arm["logit_diff"].mean


def test_the_reference_of_a_package(lab: Path) -> None:
    api.check(lab / "lab.cpatch")
    made = runpy.run_path(str(ROOT / "docs/make_reference.py"))["reference_of"](
        "my_lab_words", PACKAGES["my_lab_words"]
    )
    assert made.startswith("# my_lab_words 1.2")
    for entry in (
        "margin`",
        "overlap(left, right)`",
        "steepest(site, on: pairs)`",
        "reach(site, along: subspace, at: site, on: pairs, by: 1.0)`",
        "scale`",
        "my_csv(file",
    ):
        assert f"`{entry}" in made
    assert "`patch" not in made


FAULTS = {
    "an intervention that gives no edit": (
        "engine",
        "return set_site(here, values, along)",
        "return values",
        "should give a PreparedEdit, and gave list",
    ),
    "a pass that it does not make": (
        "engine",
        'edited = here.edited(here.word.by * along.direction, changed="at", read="site")',
        'edited = here.activations("base")',
        "its `passes` are 1, and it made 0",
    ),
    "no evaluator": (
        "engine",
        "@evaluates(Overlap)\n",
        "",
        "no function evaluates the word `overlap`",
    ),
    "a number for a subspace": (
        "engine",
        "return SubspaceValue(directions[:1].T)",
        "return 1.0",
        "should give a SubspaceValue, and gave 1.0",
    ),
    "another width": (
        "engine",
        "directions[:1].T",
        "directions[:1, :7].T",
        "its vectors should be (32, k) in float64, and are (7, 1) in float64",
    ),
    "vectors that are not finite": (
        "engine",
        "directions[:1].T",
        "directions[:1].T / 0",
        "some of its vectors are not finite",
    ),
    "no number": ("engine", "return float((", "return 0 * float('inf') * float((", "it gave nan"),
    "a tensor": ("engine", "return float((", "return ((", "gave () in float64"),
    "its own error": (
        "engine",
        "smaller = ",
        "raise ValueError('mine')\n    smaller = ",
        "`overlap` of the package my_lab_words 1.2: ValueError: mine (engine.py, line 14)",
    ),
    "a side that it does not read": (
        "engine",
        "torch.cat(here.gradients())",
        "here.rows('source')",
        "does not declare that it reads the sources",
    ),
    "gradients that it does not take": (
        "words",
        'runs = "gradients"',
        'runs = "reads"',
        "does not declare that it takes gradients",
    ),
    "one number for all pairs": (
        "words",
        "return best.cpu().double() - others.amax(1).cpu().double()",
        "return others.amax()",
        "`margin` of the package my_lab_words 1.2: ValueError: one number a pair",
    ),
    "a rank that it did not declare": (
        "engine",
        "directions[:1].T",
        "directions[:2].T",
        "it declares rank 1, and gave rank 2",
    ),
    "three numbers for a pair": (
        "words",
        "return best.cpu().double() - others.amax(1).cpu().double()",
        "return others[:, :3]",
        "one number a pair is expected, not",
    ),
    "logits changed in place": (
        "words",
        "seen.logits.scatter(",
        "seen.logits.mul_(2).scatter(",
        "it changes logits that other metrics read too",
    ),
    "activations changed in place": (
        "engine",
        "_, _, directions",
        "here.activations()[0].zero_()\n    _, _, directions",
        "it changes activations that others read too",
    ),
    "no gradients taken": (
        "engine",
        "torch.cat(here.gradients())",
        "here.rows()",
        "it declares gradients and takes none",
    ),
    "an exit": (
        "engine",
        "smaller = ",
        "raise SystemExit(0)\n    smaller = ",
        "`overlap` of the package my_lab_words 1.2: SystemExit: 0",
    ),
    "needs misspelled": (
        "words",
        'needs = "vocabulary"',
        'needs = "vocab"',
        "does not say its `needs`: one of answers, vocabulary, output",
    ),
    "runs misspelled": ("words", 'runs = "gradients"', 'runs = "grads"', "has `runs` 'grads'"),
    "sides misspelled": (
        "words",
        'runs = "gradients"\n    sides = ("base",)',
        'runs = "gradients"\n    sides = ("bases",)',
        "known are base, source",
    ),
    "operands misspelled": (
        "words",
        '(Operand("site", "site"), Operand("on"',
        '(Operand("site", "sites"), Operand("on"',
        "operands of kind 'sites'",
    ),
    "nothing given": (
        "words",
        '    gives = NumberType()\n    operands = (Operand("left"',
        '    operands = (Operand("left"',
        "the word overlap has neither `gives` nor `result`",
    ),
    "no docstring": (
        "words",
        '"""The direction along which the gradients of the bases\' '
        'logit difference are largest."""',
        "",
        "the word steepest has no docstring",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_package_is_said_to_be_its_own(
    name: str, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, old, new, message = FAULTS[name]
    path = lab / "my_lab_words" / f"{module}.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    assert main(["run", str(lab / "lab.cpatch"), "--out", str(lab / "run")]) in (2, 3)
    told = capsys.readouterr().err
    assert message in " ".join(told.split())
    assert "mistakes" not in told, told  # no second message of what follows from the first
    assert "Traceback" not in told
    assert not (lab / "run").exists()


def test_what_the_page_adds_to_the_house_runs(tmp_path: Path) -> None:
    for folder in ("causaldsl", "grammar"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc"))
    world = make_world(tmp_path / "world")
    for how, path, text in blocks(outside=False):
        target = (world if path.endswith(".cpatch") else tmp_path) / path
        if how == "File":
            assert not target.exists()
            target.write_text(text)
        else:
            target.write_text(target.read_text() + "\n\n" + text)
    done = subprocess.run(
        [sys.executable, "-m", "causaldsl", "run", "house.cpatch", "--out", "run"],
        cwd=world,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "CAUSALDSL_CACHE": str(tmp_path / "kept")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s: singular values" in done.stdout
    page = (world / "run" / "report.html").read_text()
    assert "singular value" in page
    assert "mlp_normed" in (world / "run" / "results.json").read_text()


def test_the_version_of_a_metrics_package_and_its_code_enter_its_key(lab: Path) -> None:
    keys = []
    for version, code in (("1.2", ""), ("1.3", ""), ("1.3", "# edited\n"), ("1.3", "# edited\n")):
        info = lab / f"my_lab_words-{version}.dist-info"
        for old in lab.glob("my_lab_words-*.dist-info"):
            old.rename(info)
        (info / "METADATA").write_text(f"Name: my_lab_words\nVersion: {version}\n")
        text = (lab / "lab.cpatch").read_text().replace("report margin, fldd", "report margin")
        (lab / "one.cpatch").write_text(text)
        engine = lab / "my_lab_words" / "engine.py"
        engine.write_text(engine.read_text().removesuffix("# edited\n") + code)
        graph = api.compile(lab / "one.cpatch").graph
        keys.append((graph.key_of("by_layer"), graph.key_of("s")))
        forget_package()
    assert len(set(keys)) == 3
    assert len({key for key, _ in keys}) == len({key for _, key in keys}) == 3
