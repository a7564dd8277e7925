"""Programs that try something: what is refused is refused before it is built, what is shown obeys
nobody, and what is read lies where a program may read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import time
from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.check.limits import ABOUT, USUAL
from causaldsl.cli import main
from causaldsl.diagnostics import Mistake, ProgramError, render_all
from causaldsl.report.dot import graph_dot
from causaldsl.shown import visible

IMPORT = 'import "prompts.cpatch"\n'
MEASURE = "measure m on flip.test { whole = patch resid_post[2] @ END report fldd }\n"
SWEEP = "sweep s on flip.test { for l in layers: patch resid_post[l] @ END report fldd }\n"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def said(text: str, world: Path, **options) -> str:
    """The messages of a wrong program."""
    path = world / "hostile.cpatch"
    path.write_text(text)
    with pytest.raises((ProgramError, Mistake)) as caught:
        api.check(path, **options)
    error = caught.value
    if isinstance(error, Mistake):
        return f"error[{error.code}]: {error.message}\n  help: {error.help}"
    return render_all(error.diagnostics)


def outcome(text: str, world: Path, **options) -> str:
    """The messages of a program that may be right."""
    path = world / "hostile.cpatch"
    path.write_text(text)
    found = ""
    with contextlib.suppress(ProgramError):
        try:
            api.check(path, **options)
        except ProgramError as error:
            found = render_all(error.diagnostics)
            raise
    return found


def right(text: str, world: Path, **options):
    path = world / "hostile.cpatch"
    path.write_text(text)
    return api.check(path, **options)


def doubled(times: int) -> str:
    """A subspace and a number of which each is the sum of the one before it with itself."""
    lines = ["subspace s0 = random(resid_post[1] @ END)"]
    lines += [f"subspace s{i} = s{i - 1} + s{i - 1}" for i in range(1, times + 1)]
    lines += [f"let n0 = norm(s{times})", "let q0 = m.a.fldd"]
    lines.insert(
        -1, f"measure m on flip.test {{ a = patch resid_post[1] @ END along s{times} report fldd }}"
    )
    for name in "nq":
        lines += [f"let {name}{i} = {name}{i - 1} + {name}{i - 1}" for i in range(1, times + 1)]
        lines.append(f"expect {name}{times} > -100")
    return IMPORT + "\n".join(lines) + "\n"


def test_what_is_shared_two_to_the_eighteenth_times_is_looked_at_once(world: Path) -> None:
    right(doubled(1), world)  # imports, and the tokenizer
    started = time.process_time()
    program = right(doubled(18), world)
    compiled = api.compile(program)
    assert time.process_time() - started < 1
    assert "patched" in api.plan(compiled)
    graph_dot(program, compiled.graph)
    assert time.process_time() - started < 2
    # Each of them is one operation: those of the prelude and the measure come on top.
    assert 3 * 18 < len(compiled.graph.network) < 3 * 18 + 25


def test_subspaces_made_from_all_before_them(world: Path) -> None:
    lines = ["subspace s0 = random(resid_post[1] @ END)"]
    for i in range(1, 15):
        below = ", ".join(f"s{j}" for j in range(i))
        one = f"random(resid_post[1] @ END, seed: {i})"
        lines.append(f"subspace s{i} = project({one}, onto: complement(span({below})))")
    lines.append("measure m on flip.test { a = patch resid_post[1] @ END along s14 report fldd }")
    program = right(IMPORT + "\n".join(lines), world)
    assert len(api.compile(program).graph.network) < 4 * 15 + 25
    assert str(program.named["s14"].home) == "resid_post[1] @ END"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("table t { for l in 0..1000000000: a = l }", "this has 1000000001 cells"),
        ("table t { for l in 0..1e300: a = l }", "this has about 10^300 cells"),
        ("table t { for l in 0..99, m in 0..99: a = l }", "this has 10000 cells"),
        ("table t { for l in 0..2999: a = l  b = l }", "this has 6000 cells"),
        (SWEEP.replace("layers", "0..4000000000"), "this has 4000000001 cells"),
        ("pairs many = ioi ABB <-> BAB { train 999999999 }", "this asks for 999999999 pairs"),
        ("pairs many = ioi ABB <-> BAB { train 1" + "0" * 300 + " }", "about 10^300 pairs"),
        ("let a = " + "1" * 5000, "a number of 5000 characters can't be read"),
        ("let a = 1e999", "1e999 is too large a number"),
        ("site a = head[1." + "1" * 5000 + "].z @ END", "a number of 5002 characters"),
        ("site a = resid_post[1] @ END-" + "1" * 5000, "a number of 5004 characters"),
        ("let a = " + "-" * 500 + "1", "nested too deeply"),
        ("let a = " + "(" * 9000 + "1" + ")" * 9000, ""),
        ("let a = " + "abs(" * 400 + "1" + ")" * 400, "nested too deeply"),
        ("let a = " + "+".join("1" * 2000), "nested too deeply"),
        ("let " + "a" * 101 + " = 1", "a name of 101 characters is too long"),
        ("subspace v = das(resid_post[1] @ END, on: flip.train, epochs: 1e12)", "can't be"),
        ("site r = random_mlp(1, seed: 1e30) @ END", "`seed` of `random_mlp` can't be"),
        ("let a = 1  # " + "x" * 1_000_000, "has 1000038 characters"),
    ],
)
def test_what_would_be_large_is_counted_first(text: str, expected: str, world: Path) -> None:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if expected:
        message = said(IMPORT + text + "\n", world)
        assert expected in message
        assert len(message) < 12_000
    else:
        right(IMPORT + text + "\n", world)
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_limit_is_raised_where_the_program_is_run(world: Path, capsys) -> None:
    text = IMPORT + "table t { for l in 0..5999: a = l }\n"
    assert "at most 5000 are allowed; narrow a range" in said(text, world)
    assert "`--limit cells=6000`" in said(text, world)
    assert right(text, world, limits={"cells": 6000})
    path = str(world / "hostile.cpatch")
    assert main(["check", path, "--limit", "cells=6000"]) == 0
    for wrong in ("cells", "cells=-1", "cells=1e9", "cells=" + "9" * 5000, "cellars=3", "cells=0"):
        assert main(["check", path, "--limit", wrong]) == 2
    capsys.readouterr()
    words = IMPORT + 'lexicon w = words(["Mary", "John", "Tom"])\n'
    assert "this lexicon has 3 words" in said(words, world, limits={"words": 2})
    corpus = IMPORT + 'prompts c = corpus("texts.txt")\n'
    assert "texts.txt has 24 prompts" in said(corpus, world, limits={"prompts": 23})
    pairs = 'model lm = "tiny-llama"\npairs p = jsonl("even.jsonl")\n'
    assert "even.jsonl has 2 pairs or more" in said(pairs, world, limits={"pairs": 1})
    size = (world / "even.jsonl").stat().st_size
    assert f"even.jsonl has {size} bytes" in said(pairs, world, limits={"bytes": size - 1})
    assert right(pairs, world, limits={"pairs": 2, "bytes": size})
    two = SWEEP + 'plot s as "a.svg"\nplot s as "b.svg"\n'
    assert "this is picture number 2" in said(IMPORT + two, world, limits={"pictures": 1})
    assert "this is imported file number 1" not in said(IMPORT + "let a = b", world)


def test_the_page_lists_all_limits() -> None:
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    table = page.split("<!-- limits -->")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[3:]]
    assert [row for row in rows if row] == [[n, str(USUAL[n]), ABOUT[n]] for n in sorted(USUAL)]


def test_a_program_full_of_mistakes_is_not_checked_to_its_end(world: Path) -> None:
    text = "".join(f"let a{i} = b{i}\n" for i in range(9_000))
    message = said('model lm = "tiny-llama"\n' + text, world)
    assert message.count("there is nothing called") == 100
    assert "the rest is not checked" in message


def test_files_that_import_one_another_are_counted(world: Path, tmp_path: Path) -> None:
    for i in range(120):
        more = f'import "f{i + 1}.cpatch"\n' if i < 30 else ""
        (tmp_path / f"f{i}.cpatch").write_text(f"{more}let a{i} = {i}\n")
    assert "more than 20 files import one another" in said('import "f0.cpatch"\n', tmp_path)
    flat = "".join(f'import "f{i}.cpatch"\n' for i in range(31, 120))
    right(flat, tmp_path)
    assert "this is imported file number 51" in said(flat, tmp_path, limits={"imports": 50})


@pytest.mark.parametrize("members", ["END - IO, END", "END+1.5", "END-1-1", '"x"', "END*2"])
def test_members_of_a_set_that_are_no_positions(members: str, world: Path) -> None:
    sweep = (
        f"sweep s on flip.test {{ for p in {{{members}}}: patch resid_post[1] @ p report fldd }}"
    )
    assert "can't be a member of a set" in said(IMPORT + sweep, world)


READERS = [
    "lexicon a = words({})",
    "lexicon b = phrases({})",
    "import {}",
    "pairs q = jsonl({})",
    "prompts own = corpus({})",
    "subspace v = file({})",
]


@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.split()[0] + r.split("(")[0][-7:])
def test_files_elsewhere_are_read_only_when_allowed(
    reader: str, world: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("token-of-mine\n")
    (world / "link.txt").unlink(missing_ok=True)
    (world / "link.txt").symlink_to(secret)
    up = os.path.relpath(secret, world)
    for written in (str(secret), up, f"./x/../{up}", "link.txt", str(tmp_path / "absent")):
        message = said(IMPORT + reader.format(json.dumps(written)) + "\n", world)
        assert "lies outside the program's folder" in message
        assert "token-of-mine" not in message
        assert "--allow-path" in message
    text = IMPORT + reader.format(json.dumps(str(secret))) + "\n"
    for allowed in (secret, tmp_path):
        assert "outside" not in outcome(text, world, allow=[allowed])
    param = IMPORT + 'param src = "absent"\n' + reader.format("src")
    if not reader.startswith("import"):  # what a param names on the command line was given there
        assert "outside" not in said(param, world, settings={"src": str(secret) + "-absent"})


def test_only_ordinary_files_are_read(world: Path) -> None:
    for name in ("pipe", "folder.txt"):
        place = world / name
        if not place.exists():
            os.mkfifo(place) if name == "pipe" else place.mkdir()
    for reader in READERS:
        for name, kind in (("pipe", "a pipe"), ("folder.txt", "a folder")):
            message = said(IMPORT + reader.format(f'"{name}"') + "\n", world)
            assert f"{name} can't be read: it is {kind}" in message
        for odd in ('"a\\u0000b"', '"' + "a" * 5000 + '"'):
            assert "can't be read" in said(IMPORT + reader.format(odd) + "\n", world)
    zero = said(IMPORT + 'lexicon z = words("/dev/zero")\n', world, allow=["/dev"])
    assert "/dev/zero can't be read: it is a device" in zero
    for name in ('"a\\u0000b"', '"\\u001b[31m"', '"' + "a" * 3000 + '"', '"a/' + "é" * 128 + '"'):
        assert "is not the name of a model" in said(f"model lm = {name}\n", world)
    assert "folder ~nobody-here/x does not exist" in said('model lm = "~nobody-here/x"\n', world)


NAMES = [
    "a\\u0000",
    "a\\nb",
    "a\\u001b]0;x\\u0007",
    "a/b",
    "../a",
    "..\\\\a",
    "-a",
    ".a",
    "\\u202eb",
]


@pytest.mark.parametrize("name", [*NAMES, "a" * 300])
def test_names_that_no_file_can_have_are_refused_by_check(name: str, world: Path) -> None:
    text = IMPORT + SWEEP + f'plot s as "{name}.svg"\n'
    first, *_ = said(text, world).splitlines()
    assert "is not the name of a picture" in first


def test_half_a_character_is_refused(world: Path, capsys) -> None:
    for text in (
        'param q = "\\ud800"',
        'plot s as "\\udfff.svg"',
        'lexicon w = words(["\\ud83d"])',
    ):
        assert "half of a character" in said(IMPORT + SWEEP + text + "\n", world)
    assert right(IMPORT + 'param q = "\\ud83d\\ude00"\n', world).params == {"q": "\U0001f600"}
    path = str(world / "hostile.cpatch")
    assert main(["check", path, "--set", "q=\udcff"]) == 2
    assert main(["check", path, "--set", "q=\x1b[31m"]) == 2
    assert not OBEYED.search(capsys.readouterr().err)


def test_pictures_that_differ_by_capitals_are_one_file_somewhere(world: Path) -> None:
    text = IMPORT + SWEEP + 'plot s as "one.svg"\nplot s as "ONE.svg"\n'
    assert "two pictures are called" in said(text, world)


EVIL = "# \x1b]0;pwned\x07\x1b[2J\u202e\u2066\x9b31m\nlet a = $ # \x1b[31m red \x1b]8;;http://evil\x07\n"


def test_messages_obey_nothing(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world / "escapes.cpatch"
    path.write_text(EVIL)
    assert main(["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert not OBEYED.search(err)
    assert "\\u001b[31m red" in err
    path.write_text("let a = 1  # \x1b[31m\u202e\n")
    assert main(["check", "--tree", str(path)]) == 0
    assert not OBEYED.search(capsys.readouterr().out)


def test_what_is_shown_is_shown(world: Path) -> None:
    for char in map(chr, range(0x110000)):
        shown = visible(char)
        if char.isprintable() or char in "\n\t":
            assert shown == char or char == "\U000e0001", hex(ord(char))
        assert shown == char or json.loads(f'"{shown}"') == char


@pytest.fixture(scope="module")
def shown(world: Path, tmp_path_factory: pytest.TempPathFactory):
    """The folder of a run of a program that has markup and marks wherever a text can stand."""
    evil = "<script>x</script>\u202e$\\frac{\x1b[31m"
    rows = [
        {"base": f"The man {i} {evil}", "source": f"The boy {i} {evil}", "answer": " ring"}
        | {"foil": " book", "class": {"base": "[red]<b>", "source": "\\N$\\frac{"}}
        for i in range(6)
    ]
    (world / "evil.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = (
        f"# {evil}\n"
        + IMPORT
        + 'pairs q = jsonl("evil.jsonl")\n'
        + "site out = resid_post[1] @ END\nsubspace v = random(out)\n"
        + "measure m on q { whole = patch resid_post[2] @ END report logit_diff }\n"
        + "sweep s on q { for p in positions: patch resid_post[1] @ p report logit_diff }\n"
        + "histogram h on q { clean = v at out }\n"
        + 'plot s as "[red]x[link=http:evil]y.svg"\nplot h as "\uff41$N<b>.pdf"\nrender m\n'
        + 'expect h.clean["[red]<b>"].mean > -100\n'
    )
    path = world / "shown.cpatch"
    path.write_text(text)
    return path, tmp_path_factory.mktemp("shown") / "run"


def test_a_run_obeys_nothing_either(shown, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = shown
    assert main(["run", str(path), "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert not OBEYED.search(out + err)
    assert "[red]x[link=http:evil]y.svg" in out
    assert 'h.clean["[red]<b>"].mean' in out
    results = json.loads((folder / "results.json").read_text())
    assert not [note for note in results["notes"] if "could not be made" in note]
    page = (folder / "report.html").read_text()
    assert not OBEYED.search(page)
    assert page.count("<script") == 1  # the page's own
    for name in ("graph.svg", "[red]x[link=http:evil]y.svg", "m.svg", "graph.dot", "m.dot"):
        picture = (folder / name).read_text()
        assert not OBEYED.search(picture)
        assert "<script" not in picture
