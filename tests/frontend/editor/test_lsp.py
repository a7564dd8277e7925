"""The language server, driven by a client: one server for all tests, a document for each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.editor.completion import complete
from causaldsl.editor.document import Document
from causaldsl.results.records import Expectation, Results
from causaldsl.syntax.format import format_program
from causaldsl.syntax.parse import parse
from tests.frontend.editor.client import ROOT, Client, Refused, edited, inside
from tests.frontend.world import PRELUDE

pytest.importorskip("pygls", reason="the extra `editor` is not installed")

BODY = """site out = resid_post[1] @ END
site hidden = mlp_hidden[0] @ S2
subspace v = das(out, on: flip.train, epochs: 2)
measure m on flip.test {
  whole = patch out
  part = patch out along v
  report logit_diff, fldd
}
sweep by_place on flip.test { for l in 0..1, p in {S2, END}: patch resid_post[l] @ p  report fldd }
expect m.part.fldd < m.whole.fldd and by_place[1.END].fldd > 0
"""
PROGRAM = PRELUDE + BODY
IMPORTING = 'import "prompts.cpatch"\n' + BODY
UNUSED = {"unused-definition"}
"""`hidden` is what nothing uses in this program."""


@pytest.fixture
def program(client: Client, world: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A document that is open and checked; it is not on disk."""
    path = world / f"{request.node.name.partition('[')[0]}.cpatch"
    client.write(path, PROGRAM)
    client.found(path, UNUSED)
    yield path
    client.close(path)


def labels(answer: Any) -> list[str]:
    return [item["label"] for item in answer["items"]]


def hovered(client: Client, path: Path, sought: str) -> str:
    answer = client.at(path, sought, "hover")
    assert answer is not None, sought
    return str(answer["contents"]["value"])


def test_all_errors_with_labels_and_ways_out(client: Client, program: Path) -> None:
    text = PROGRAM + "let a = (1\nmesure x\nsite out = nowhere\nlet \U0001f600\n"
    client.write(program, text)
    found = client.found(program, {"syntax", "unknown-statement", "unknown-name"})
    assert len(found) == 4
    assert all(one["severity"] == 1 for one in found)
    (unknown,) = (one for one in found if one["code"] == "unknown-name")
    assert inside(text, unknown["range"]) == "nowhere"
    assert "help: names here: " in unknown["message"]
    text = PROGRAM + "let out = 1\n"
    client.write(program, text)
    (twice,) = client.found(program, {"name-twice"})
    (label,) = twice["relatedInformation"]
    assert label["message"] == "first defined here"
    assert label["location"]["uri"] == program.as_uri()
    assert inside(text, label["location"]["range"]) == "out"
    assert label["location"]["range"]["start"]["line"] == PRELUDE.count("\n")


def test_warnings_are_no_errors(client: Client, program: Path) -> None:
    (found,) = client.found(program, UNUSED)
    assert (found["severity"], found["tags"]) == (2, [1])
    assert inside(PROGRAM, found["range"]) == "hidden"
    client.write(program, "allow unused-definition\n" + PROGRAM)
    assert client.found(program, set()) == []


def test_columns_are_units_of_utf_16(client: Client, program: Path) -> None:
    line = 'plot by_place as "\U0001f600.svg" let a = nowhere'
    client.write(program, f"{PROGRAM}# \U0001f600\n{line}\n")
    (found,) = client.found(program, {"unknown-name"})
    assert found["range"]["start"]["character"] == line.index("nowhere") + 1
    assert inside(client.texts[program.as_uri()], found["range"]) == "nowhere"
    answer = client.at(program, "# \U0001f600\npl|ot", "hover")
    assert inside(client.texts[program.as_uri()], answer["range"]) == "plot"


def test_a_client_that_prefers_other_columns_is_told_ours_and_the_server_ends(world: Path) -> None:
    client = Client(world, ["utf-32", "utf-16"])
    assert client.able["positionEncoding"] == "utf-16"
    assert client.end() == 0


def test_text_that_is_not_saved_is_what_is_imported(client: Client, world: Path) -> None:
    shared, path = world / "shared.cpatch", world / "importing.cpatch"
    shared.write_text(PRELUDE)
    client.write(path, IMPORTING.replace("prompts.cpatch", "shared.cpatch"))
    client.found(path, UNUSED)
    client.write(shared, PRELUDE.replace("pairs flip", "pairs flop"))
    assert {d["code"] for d in client.found(path, {"unknown-name"})} == {"unknown-name"}
    client.write(shared, PRELUDE.replace("lexicon place = words", "lexicon place = nothing"))
    (found,) = client.found(path, {"bad-lexicon"})
    assert inside(client.texts[path.as_uri()], found["range"]) == '"shared.cpatch"'
    assert found["relatedInformation"][0]["location"]["uri"] == shared.as_uri()
    client.close(shared)
    client.found(path, UNUSED)
    shared.write_text(PRELUDE.replace("pairs flip", "pairs flop"))
    client.tell("textDocument/didSave", textDocument={"uri": path.as_uri()})
    client.found(path, {"unknown-name"})
    client.close(path)
    shared.unlink()


@pytest.mark.parametrize(
    ("sought", "said"),
    [
        ("along |v", "**v**: a subspace of 32 dimensions, rank 1"),
        ("patch |out\n", "**out**: a site: resid_post[1] @ END"),
        ("flip.te|st {", "6 pairs of `flip`"),
        ("model l|m", "a model: tiny-llama"),
        ("resid_post[1|] @ END", None),
        ("resid_|post[1]", "Residual stream leaving a block.\n\nd_model = 32 dimensions"),
        ("d|as(out", "das(site, on: pairs"),
        ("epo|chs: 2", "option of `das`"),
        ("al|ong v", "of `patch`: subspace, may be left out"),
        ("pa|tch out\n", "interchange intervention"),
        ("fl|dd\n}", "report fldd"),
        ("mea|sure m", "Metrics of some interventions"),
        ("m.pa|rt", "an arm of `m`\n\n`patch out along v`"),
        ("resid_post[|l]", "a loop variable of `by_place`\n\n`l in 0..1`"),
        ("@ |p ", "a loop variable of `by_place`"),
        ("{|S2, END}", "a named position\n\n`S2 = B.2`"),
        ("{|X} and {Y} went to the {place} and", "a slot of `ioi`"),
    ],
)
def test_hover(client: Client, program: Path, sought: str, said: str | None) -> None:
    if said is None:
        assert client.at(program, sought, "hover") is None
    else:
        found = hovered(client, program, sought)
        assert said in found


def test_hover_tells_a_claim_s_last_verdict(client: Client, program: Path, world: Path) -> None:
    assert "no run of this program yet" in hovered(client, program, "e|xpect")
    run = world / "runs" / program.stem / "abc"
    run.mkdir(parents=True)
    claim = Expectation(
        text="m.part.fldd < m.whole.fldd", place="x:1:1", verdict="fell", left=0.75, right=0.5,
        difference=0.25, low=0.125, high=0.375, n=6,
    )  # fmt: skip
    results = Results(program=PROGRAM, measures={}, expectations=[claim])
    (run / "results.json").write_text(results.model_dump_json())
    said = hovered(client, program, "m.part.fl|dd < m")
    assert f"**fell** in the last run ({program.stem}/abc): 0.75 and 0.5" in said
    assert "difference 0.25 [0.125, 0.375] at 0.95, n = 6" in said
    assert "did not have this claim" in hovered(client, program, "by_place[1.END].fl|dd >")


@pytest.mark.parametrize(
    ("tail", "has", "lacks"),
    [
        ("", {"measure", "sweep", "expect"}, {"patch", "v"}),
        ("subspace w = ", {"das", "v", "random", "out"}, {"measure", "name", "flip.test"}),
        ("subspace w = das(out, ", {"on", "lr", "epochs", "objective"}, {"patch"}),
        ("subspace w = das(out, lr: 0.1, ", {"on", "epochs"}, {"lr"}),
        ("subspace w = das(out, objective: ", {"logit_diff", "cross_entropy"}, {"v"}),
        ("subspace w = das(out, on: ", {"flip.train", "flip.test"}, {"v", "out"}),
        ("measure q on ", {"flip.test", "flip.train"}, {"v"}),
        ("measure q on flip.", {"train", "test"}, {"flip"}),
        ("measure q on flip.test { a = ", {"patch", "ablate", "steer"}, {"measure", "v"}),
        ("measure q on flip.test { a = patch ", {"out", "resid_post", "head"}, {"v", "das"}),
        ("measure q on flip.test { a = patch out ", {"along", "report", "from"}, {"v"}),
        ("measure q on flip.test { a = patch out along ", {"v"}, {"out", "das"}),
        ("measure q on flip.test { a = ablate out to ", {"zero", "mean", "noise"}, {"v"}),
        ("measure q on flip.test { a = patch out report ", {"fldd", "kl"}, {"v", "toy"}),
        ("site q = resid_post[0] @ ", {"END", "S2", "IO", "all"}, {"v", "das"}),
        ("site q = head[1.1].", {"z", "q", "out", "pattern"}, {"k_shared", "END"}),
        ("expect m.", {"whole", "part", "clean"}, {"fldd"}),
        ("expect m.part.", {"fldd", "logit_diff"}, {"kl", "part"}),
        ("expect by_place[1.END].", {"fldd"}, {"part"}),
        ("allow ", {"unused-definition"}, {"v"}),
        ("plot ", {"by_place"}, {"v", "out"}),
        ("plot by_place by ", {"l", "p"}, {"v"}),
        ("generate q on flip.test { a = ", {"steer", "base"}, {"measure"}),
        ("generate q on flip.test { a = base tokens 3 report ", {"text", "share_with"}, {"fldd"}),
        ("subspace w = probe(out, ABB, BAB, ", {"held_out", "penalty", "on"}, {"patch"}),
        ("metric q = ", {"logit", "prob", "answer"}, {"measure"}),
        ('import "', {"prompts.cpatch"}, {"names.txt"}),
        ("sweep q on flip.test { for k in layers: patch resid_post[", {"k"}, {"flip.test"}),
        ("path q = head[0.0].z @ END -> logits { ", {"freeze", "layernorm"}, {"v"}),
        ("path q = head[0.0].z @ END -> logits { freeze ", {"attention", "all"}, {"freeze"}),
        ("attribution q to ", {"logit_diff", "prob", "loss"}, {"fldd", "v"}),
        ("attribution q to prob on flip.test { ", {"over", "edges", "steps", "check"}, {"v"}),
        ("attribution q to prob on flip.test { over ", {"heads", "out", "mlps"}, {"edges"}),
        ("attribution q to prob on flip.test { over out ", {"edges", "by", "check"}, {"over"}),
        ("dictionary f = ", {"sae", "transcoder"}, {"das", "v"}),
        ("# ", set(), {"measure"}),
    ],
)
def test_completion(
    client: Client, program: Path, tail: str, has: set[str], lacks: set[str]
) -> None:
    client.write(program, PROGRAM + tail)
    found = set(labels(client.at(program, f"fldd > 0\n{tail}|", "completion")))
    assert has <= found
    assert not lacks & found


def test_completion_of_what_has_just_been_defined(program: Path) -> None:
    pairs = "pairs two = ioi ABB <- {far: BAB, near: CDC} { test 4 }\n"
    for tail, has in (
        ("generate q on flip.test { a = base tokens 3  report length }\nexpect q.", {"a"}),
        ("measure q on two.test { a = patch out from ", {"far", "near", "source", "flip"}),
        ("measure q on two.test { a = patch out from mean(two.test.", {"far", "near", "base"}),
    ):
        text = PROGRAM + pairs + tail
        offer = complete(Document(program, text).check({}), len(text))
        assert has <= {item.label for item in offer.items}


def test_a_dictionary_offers_its_features(client: Client, program: Path) -> None:
    text = PROGRAM + 'dictionary f = sae("sae") at resid_post[1]\nlet q = nowhere\n'
    client.write(program, text)
    client.found(program, {"unknown-name"})
    for tail, has in (("patch ", "f"), ("patch f.", "features")):
        client.write(program, f"{text}measure w on flip.test {{ a = {tail}")
        assert has in labels(client.at(program, f"a = {tail}|", "completion"))
    assert "48 features at resid_post[1]" in hovered(client, program, "dictionary |f")


def test_completion_replaces_what_is_typed(client: Client, program: Path) -> None:
    text = PROGRAM + "measure q on flip.test { a = pat"
    client.write(program, text)
    answer = client.at(program, "a = pat|", "completion")
    (patch,) = (item for item in answer["items"] if item["label"] == "patch")
    assert inside(text, patch["textEdit"]["range"]) == "pat"
    assert patch["textEdit"]["newText"] == "patch "


@pytest.mark.parametrize(
    ("sought", "line"),
    [
        ("along |v", "subspace v = das(out, on: flip.train, epochs: 2)"),
        ("m.pa|rt", "  part = patch out along v"),
        ("@ |p ", "sweep by_place on flip.test"),
        ("@ S|2", "  position IO = A.1, S2 = B.2"),
        ("1.E|ND]", None),
        ("on: |flip", "pairs flip = ioi"),
    ],
)
def test_definition(client: Client, program: Path, sought: str, line: str | None) -> None:
    answer = client.at(program, sought, "definition")
    if line is None:
        assert answer is None
    else:
        there = PROGRAM.split("\n")[answer["range"]["start"]["line"]]
        assert there.startswith(line)
        assert inside(PROGRAM, answer["range"]) in sought.replace("|", "")


def test_names_of_another_file(client: Client, world: Path) -> None:
    path, shared = world / "user.cpatch", world / "prompts.cpatch"
    client.write(path, IMPORTING)
    client.found(path, UNUSED)
    answer = client.at(path, "on: |flip", "definition")
    assert answer["uri"] == shared.as_uri()
    assert inside(PRELUDE, answer["range"]) == "flip"
    found = client.at(path, "on: |flip", "references", context={"includeDeclaration": True})
    here = [one for one in found if one["uri"] == path.as_uri()]
    assert len(here) == IMPORTING.count("flip")
    assert [inside(PRELUDE, one["range"]) for one in found if one["uri"] == shared.as_uri()] == [
        "flip"
    ]
    edit = client.at(path, "on: |flip", "rename", newName="swap")["changes"]
    assert {path.as_uri(), shared.as_uri()} <= set(edit)
    assert edited(IMPORTING, edit[path.as_uri()]) == IMPORTING.replace("flip", "swap")
    assert edited(PRELUDE, edit[shared.as_uri()]) == PRELUDE.replace("flip", "swap")
    answer = client.at(path, "@ S|2", "definition")
    assert answer["uri"] == shared.as_uri()
    assert inside(PRELUDE, answer["range"]) == "S2 = B.2"
    edit = client.at(path, "@ S|2", "rename", newName="SUBJ")["changes"]
    assert edited(IMPORTING, edit[path.as_uri()]) == IMPORTING.replace("S2", "SUBJ")
    assert edited(PRELUDE, edit[shared.as_uri()]) == PRELUDE.replace("S2", "SUBJ")
    client.close(path)


@pytest.mark.parametrize(
    ("sought", "new"),
    [
        ("along |v", "direction"),
        ("m.pa|rt", "piece"),
        ("@ |p ", "place_of"),
        ("@ S|2", "SUBJ"),
        ("{|X} and {Y} went to the {place} and", "Q"),
    ],
)
def test_rename_changes_the_name_and_nothing_else(
    client: Client, program: Path, world: Path, sought: str, new: str
) -> None:
    edits = client.at(program, sought, "rename", newName=new)["changes"][program.as_uri()]
    places = {inside(PROGRAM, edit["range"]) for edit in edits}
    assert len(places) == 1
    assert len(edits) > 1
    after = edited(PROGRAM, edits)
    codes = [w.code for w in Checker(Source("after", after), program).check().warnings]
    assert codes == ["unused-definition"]
    assert after != PROGRAM


@pytest.mark.parametrize(
    ("sought", "new", "why"),
    [
        ("along |v", "2v", "can't be a name"),
        ("along |v", "measure", "is a keyword"),
        ("along |v", "das", "a word of the language"),
        ("along |v", "out", "`out` is taken: "),
        ("m.pa|rt", "whole", "`whole` is taken: "),
        ("m.pa|rt", "fldd", "would mean something else"),
        ("@ |p ", "l", "`l` is taken: "),
        ("d|as(out", "new", "no name of the program stands here"),
        ("1.E|ND]", "LAST", "no name of the program"),
    ],
)
def test_rename_is_refused(client: Client, program: Path, sought: str, new: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        client.at(program, sought, "rename", newName=new)


def test_what_can_be_renamed_is_said_before(client: Client, program: Path) -> None:
    place = client.at(program, "along |v", "prepareRename")
    assert inside(PROGRAM, place) == "v"
    with pytest.raises(Refused):
        client.at(program, "d|as(out", "prepareRename")


def test_outline(client: Client, program: Path) -> None:
    uri = program.as_uri()
    found = client.ask("textDocument/documentSymbol", textDocument={"uri": uri})
    names = [one["name"] for one in found]
    assert names[:2] == ["lm", "name"]
    (measure,) = (one for one in found if one["name"] == "m")
    assert [part["name"] for part in measure["children"]] == ["whole", "part"]
    assert inside(PROGRAM, measure["range"]).startswith("measure m")
    assert any(name.startswith("m.part.fldd < ") for name in names)


def test_formatting(client: Client, program: Path) -> None:
    untidy = PROGRAM.replace(" = ", "   =  ") + "\n\n\nlet   z=1 # one"
    client.write(program, untidy)
    options = {"tabSize": 2, "insertSpaces": True}
    about = {"uri": program.as_uri()}
    edits = client.ask("textDocument/formatting", textDocument=about, options=options)
    tidy = format_program(parse(Source("x", untidy)))
    assert edited(untidy, edits) == tidy
    client.write(program, tidy)
    assert client.ask("textDocument/formatting", textDocument=about, options=options) == []
    client.write(program, untidy + "\nlet b = (")
    with pytest.raises(Refused, match="syntax errors"):
        client.ask("textDocument/formatting", textDocument=about, options=options)


def test_the_server_loads_no_torch() -> None:
    probe = (
        "import sys, causaldsl.editor.server; print({'torch', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"
