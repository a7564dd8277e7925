"""report.html says all that the run found, loads nothing, and takes no text for markup."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

import causaldsl.report
from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.graph.compiler import compile_program
from causaldsl.model.tokens import Tokens
from causaldsl.report.calibration import calibration
from causaldsl.report.dot import graph_dot
from causaldsl.report.heatmaps import plot_sweep
from causaldsl.report.html.axis import axis, place
from causaldsl.report.kinds.histograms import plot_histogram
from causaldsl.report.numbers import decimals, plain
from causaldsl.report.page import build
from causaldsl.report.page.build import report_html
from causaldsl.report.pictures import render_dot
from causaldsl.report.view import View
from causaldsl.results.records import AuditRecord, Evidence, Results
from tests.frontend.world import PRELUDE, make_world
from tests.report.pages import Page
from tests.report.synthetic import comparison, number, trace

PROGRAMS = Path(__file__).parents[2] / "programs"
SCRIPT = Path(causaldsl.report.__file__).parent / "page/explore.js"
HOSTILE = "<script>alert('x')</script> & \"quoted\" <b> `a < b`"
PROGRAM = f"""# Is {HOSTILE} shown as it is written?
model toy = "toy/illusion"
param top = 5
import "parts & <i>.cpatch"

pairs many = numbers(base: [1, 3, 0, -2.5], source: [2, -1, 4, 10])

subspace v = e2 + e3
let angle = cos(v, e2)
measure effects on many {{
  whole = patch h
  along_v = patch h along v
  report output
}}
sweep by_layer on many {{ for layer in layers: patch mlp_hidden[layer]  report output }}

histogram apart on many {{ plain = e2 at h  moved = v at h with patch h along v }}
# These hold: {HOSTILE}
expect effects.along_v.output == effects.whole.output and angle > 0.7
expect max(by_layer.output) > top
expect apart.plain.base.mean < 1 and apart.moved.auc < 1
# This falls.
expect effects.clean.output > 100

plot by_layer
plot by_layer as "small.png"
render effects as "effects.pdf"
"""
READ = (
    PRELUDE
    + """
prompts written = sample(lm, n: 24, length: 6, seed: 0)
prompts lines = corpus("texts.txt")
site mlp = mlp_hidden[1] @ END
sweep by_layer on flip.test { for l in layers: patch resid_post[l] @ END  report logit_diff }
sweep by_head on flip.test { for h in heads: patch head[h].z @ END  report fldd }
sweep single on flip.test { for l in 0..0: patch resid_post[l] @ END  report fldd }
table read {
  for l in layers, s in 0..1:
    r2 = ridge_r2(mlp_hidden[l] @ END, target: random(resid_mid[l] @ END, seed: s),
      at: resid_mid[l] @ END, on: lines)
    cosine = cos(random(mlp, seed: s), random(mlp, seed: l))
}
let alone = logistic_accuracy(mlp, direction: random(resid_mid[1] @ END),
  scale: 0.1, unit: absolute,
  at: resid_mid[1] @ END, on: written)
histogram apart on flip.test { plain = random(mlp) at mlp }
measure whole on flip.test { mlp = patch mlp  report logit_diff }
plot by_layer relative whole.mlp.logit_diff as "asked.svg"
"""
)
PARTS = """# Parts </code>
site one = mlp_hidden[0]
site other = mlp_hidden[0]
site h = mlp_hidden[0]
subspace e2 = neurons(h, [1])
subspace e3 = neurons(h, [2])
"""


def run(path: Path, out: Path, *more: str) -> Page:
    assert main(["run", str(path), "--out", str(out), *more]) in (0, 1)
    return Page((out / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "odd & <u>.cpatch").write_text(PROGRAM, encoding="utf-8")
    (folder / "parts & <i>.cpatch").write_text(PARTS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return run(folder / "odd & <u>.cpatch", folder / "run", "--set", "top=3")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return run(PROGRAMS / "toy_illusion.cpatch", tmp_path_factory.mktemp("toy") / "run")


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a tiny model with tables, probes, texts and things that nobody plots."""
    world = make_world(tmp_path_factory.mktemp("read"))
    (world / "read.cpatch").write_text(READ, encoding="utf-8")
    run(world / "read.cpatch", world / "run")
    return world


def read_page(read: Path) -> Page:
    return Page((read / "run/report.html").read_text(encoding="utf-8"))


def found(folder: Path) -> Results:
    return Results.model_validate_json((folder / "run/results.json").read_text())


def test_every_claim_stands_first_with_its_verdict(page: Page, folder: Path) -> None:
    claims = [e.words for e in page.all("code", "claim")]
    results = found(folder)
    assert claims == [e.text for e in results.expectations]
    badges = [e for e in page.all("span", "badge") if e.inside("section")]
    verdicts = ["held" if e.held else "fell" for e in results.expectations]
    assert [b.words.split()[-1] for b in badges[: len(claims)]] == verdicts
    assert verdicts == ["held", "held", "held", "held", "held", "fell"]
    assert page.all("h2")[0].words == "Claims"
    assert "1 of 6 claims fell" in page.all("header")[0].words
    assert "1 of 6 claims fell" in page.all("title")[0].words


def test_a_claim_has_the_interval_of_its_measured_number(page: Page, folder: Path) -> None:
    number = found(folder).measures["effects"]["clean"]["output"]
    sides = page.all("div", "sides")[-1].words
    assert f"{number.mean:.2f} [−{-number.low:.2f}, {number.high:.2f}], not > 100" in sides
    assert f"n = {number.n}" in sides


def test_comments_explain_claims(page: Page) -> None:
    shown = [e.words for e in page.all("p", "why")]
    assert shown == [f"These hold: {HOSTILE.replace('`', '')}", "This falls."]
    assert HOSTILE.replace("`", "") in page.all("p", "opening")[0].words


def test_every_line_of_the_program_and_of_its_imports(page: Page, folder: Path) -> None:
    lines = [e.words for e in page.all("span", "t")]
    own = (folder / "odd & <u>.cpatch").read_text().rstrip("\n").split("\n")
    assert lines == [line or " " for line in [*own, *PARTS.rstrip("\n").split("\n")]]


def test_every_measured_number(page: Page, folder: Path) -> None:
    cells = {e.words for e in page.all("span", "interval")}
    for arms in found(folder).measures.values():
        for numbers in arms.values():
            low, high = numbers["output"].low, numbers["output"].high
            assert f"[{low:.2f}, {high:.2f}]".replace("-", "−") in cells


def test_the_page_loads_nothing(page: Page, toy: Page) -> None:
    for one in (page, toy):
        (script,) = one.all("script")  # the page's own; its policy lets no other run
        assert script.words == SCRIPT.read_text()
        assert not script.attributes
        (policy,) = (e for e in one.all("meta") if "http-equiv" in e.attributes)
        assert "default-src 'none'" in policy.attributes["content"]
        assert not one.all("link")
        assert not one.all("iframe")
        for element in one.elements:
            assert not any(name.startswith("on") for name in element.attributes), element
            for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                value = element.attributes.get(name, "#")
                assert value.startswith(("#", "data:image/")), (element.name, value)
            assert "//" not in re.sub(r"data:\S+", "", element.attributes.get("style", ""))
        for style in one.all("style"):
            assert "url(" not in style.words
            assert "@import" not in style.words


def test_ids_are_unique_and_links_resolve(page: Page, toy: Page) -> None:
    for one in (page, toy):
        ids = one.ids
        assert len(ids) == len(set(ids))
        for link in one.all("a"):
            assert link.attributes["href"][1:] in ids, link.attributes
        for element in one.elements:
            for value in element.attributes.values():
                for target in re.findall(r"url\(#([^)]+)\)", value):
                    assert target in ids


def test_what_a_screen_reader_needs(page: Page, toy: Page) -> None:
    for one in (page, toy):
        levels = [int(e.name[1]) for e in one.elements if re.fullmatch("h[1-6]", e.name)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert all(e.attributes.get("scope") in ("col", "row") for e in one.all("th"))
        assert all(e.attributes.get("alt") for e in one.all("img"))
        titles = {e.parent.attributes.get("id"): e.words for e in one.all("title") if e.parent}
        for picture in one.all("svg"):
            hidden = picture.attributes.get("aria-hidden") == "true"
            named = picture.attributes.get("role") == "img" and titles[picture.attributes["id"]]
            assert hidden or named
        assert len(one.all("table")) == len(one.all("caption"))
        assert one.all("html")[0].attributes["lang"] == "en"


def test_pictures_are_inside(page: Page) -> None:
    figures = [e.attributes["id"] for e in page.all("figure")]
    stems = ["by_layer", "small", "unplotted-apart", "effects", "graph"]
    assert figures == [f"figure-{stem}" for stem in stems]
    heatmaps = page.all("image")
    assert heatmaps
    assert all(e.attributes["href"].startswith("data:image/png;base64,") for e in heatmaps)


def test_equal_results_give_equal_text(folder: Path, page: Page) -> None:
    path = folder / "odd & <u>.cpatch"
    program = check_file(path, settings={"top": "3"})
    graph = compile_program(program)
    drawn = folder / "drawn"
    drawn.mkdir()
    plot_histogram(found(folder), "apart", drawn / "unplotted-apart.svg")
    plot_sweep(found(folder), "by_layer", drawn / "small.svg")
    render_dot(graph_dot(program, graph, found(folder), "effects"), drawn / "effects.svg")
    again = report_html(View(program, graph, found(folder), folder / "run", drawn))
    assert again == (folder / "run/report.html").read_text(encoding="utf-8")


def test_the_command_line_names_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(PROGRAMS / "toy_illusion_wide.cpatch", tmp_path / "run")
    assert f"report    {tmp_path / 'run/report.html'}" in capsys.readouterr().out


def test_traces_audits_and_comparisons(folder: Path, page: Page) -> None:
    """Under names of statements that give nothing themselves, so that they stand beside these."""
    traced = trace(12)
    rows = [
        Evidence(name="row part", value=number(0.31), meaning="What W_out sees.",
                 points_to="illusory", details={"by chance": 0.25}, scale=(1 / 3, 0.8)),
        Evidence(name="cosine", value=None, meaning="Needs `against: u`.", points_to="neither"),
    ]  # fmt: skip
    audit = AuditRecord(
        audited="illusion(v, on: many)", site="mlp_hidden[0]", pairs="many", n=4, n_pairs=6,
        verdict="illusory", rule=HOSTILE, decided_by=["row part"], evidence=rows,
        stability={"thresholds wider": "illusory", "ABB into BAB alone": "inconclusive"},
        caveat="Evidence, not proof.",
    )  # fmt: skip
    compared = {"rank_correlation(one, other)": comparison(5)}
    records = {"traces": {"one": traced}, "audits": {"other": audit}, "comparisons": compared}
    results = found(folder).model_copy(update=records)
    program = check_file(folder / "odd & <u>.cpatch")
    view = View(program, compile_program(program), results, folder / "run")
    shown = Page(report_html(view))
    ids = ("traces-one", "audits-other", "comparisons-rank_correlation_one_other")
    assert set(ids) <= set(shown.ids)
    assert all(link.attributes["href"][1:] in shown.ids for link in shown.all("a"))
    words = shown.all("main")[0].words
    total = traced.total
    assert f"−{-total.mean:.2f} [−{-total.low:.2f}, −{-total.high:.2f}]" in words
    assert f"The {sum(e.shown for e in traced.edges)} drawn edges carry " in words
    assert "2 of them are dormant" in words
    for edge in traced.edges:
        assert f"{edge.sender} → {edge.receiver}" in words
    for node in traced.components:
        assert node.id in words
    beside = [e.words for e in shown.all("div", "beside")]
    assert any(traced.does in e and "Dormant edges" in e for e in beside)
    rule = HOSTILE.replace("`", "")
    assert any(rule in e and "illusory" in e and "row part" in e for e in beside)
    for expected in ("0.31 [0.25, 0.37]", "by chance 0.25", "Needs against: u.", audit.caveat):
        assert expected in words
    assert "rank correlation0.71" in words
    drawn = shown.all("svg", "evidence-axis")
    assert len(drawn) == 2  # beside the statement and in its section
    assert all(e.words.startswith("row part 0.31, 0.25 to 0.37: illusory") for e in drawn)
    assert "The same in 1 of 2 variations. inconclusive: ABB into BAB alone." in words
    wrong, definite = calibration().wrong, calibration().definite
    assert f"({wrong} of {definite} definite verdicts)" in words


def test_where_evidence_stands_on_its_axis() -> None:
    scale = (1 / 3, 0.8)
    assert [place(at, scale) for at in (0, *scale, 1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert place(-0.1, scale) < 0
    assert place(1.2, scale) > 1
    assert axis([], [], "none") is None


def contrast(one: str, other: str) -> float:
    """The ratio that WCAG 2 defines."""

    def luminance(colour: str) -> float:
        if len(colour) == 4:
            colour = "#" + "".join(2 * c for c in colour[1:])
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4
            for share in shares
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_in_every_theme() -> None:
    style = build._style()
    themes = re.findall(r":root \{([^}]*)\}", style)
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", theme))
        on_paper = ("ink", "soft", "link", "keyword", "word", "string", "number", "held", "fell")
        pairs = [(name, "paper") for name in on_paper]
        pairs += [(name, f"{name}-ground") for name in ("held", "fell", "odd")]
        pairs += [("ink", "mark"), ("soft", "mark"), ("ink", "panel"), ("keyword", "mark")]
        for front, ground in pairs:
            assert contrast(colour[front], colour[ground]) >= 4.5, (front, ground)


def test_results_json_is_what_the_page_shows(folder: Path, page: Page) -> None:
    provenance = json.loads((folder / "run/results.json").read_text())["provenance"]
    words = page.all("section")[-1].words
    assert "--set top=3" in page.all("pre", "command")[0].words
    assert "top = 3" in page.all("header")[0].words
    for name in ("fingerprint", "torch", "model"):
        assert str(provenance[name]) in words
    for pairs in provenance["pairs"].values():
        assert pairs["digest"] in words


def test_claims_about_audits(toy: Page) -> None:
    """`toy_illusion` claims that one direction is illusory and another faithful."""
    sides = [e.words for e in toy.all("div", "sides")]
    assert [s for s in sides if s.startswith("found: illusory")]
    assert [s for s in sides if s.startswith("found: faithful")]


def test_histograms(page: Page, folder: Path) -> None:
    record = found(folder).histograms["apart"]
    (made,) = [e.words for e in page.all("table") if e.words.startswith("apart: projections")]
    for arm in record.arms.values():
        assert f"{arm.d:.2f}".replace("-", "−") in made
        for counted in arm.classes.values():
            assert f"[{counted.low:.2f}, {counted.high:.2f}]".replace("-", "−") in made
    base = record.arms["plain"].classes["base"]
    (side,) = [e.words for e in page.all("div", "sides") if "< 1" in e.words and "[" in e.words]
    assert side.startswith(f"{base.mean:.2f} [")


def test_tables_have_means_and_ranges_and_every_cell(read: Path) -> None:
    page, record = read_page(read), found(read).tables["read"]
    (short,) = [e.words for e in page.all("table") if e.words.startswith("read: mean")]
    (full,) = [e for e in page.elements if e.attributes.get("id") == "all-read"]
    for arm, cells in record.cells.items():
        places = decimals(cells.values())
        for cell, value in cells.items():
            assert plain(value, places) in full.words, cell
        for label in record.axes["l"]:
            over = [cells[f"{label}.{seed}"] for seed in record.axes["s"]]
            mean = plain(sum(over) / len(over), places)
            assert f"{mean} {plain(min(over), places)} to {plain(max(over), places)}" in short, arm


def test_probes_say_what_they_were_trained_and_tested_on(read: Path) -> None:
    page, probes = read_page(read), found(read).probes
    (section,) = [e for e in page.all("section") if e.attributes["id"] == "probes"]
    assert len(probes) == 9
    for name, probe in probes.items():
        assert name in section.words
        assert probe.made in section.words
        assert plain(probe.score, decimals(p.score for p in probes.values())) in section.words
    alone = probes["alone"]
    assert alone.n_train == 2 * alone.prompts_train  # a step forward and one back
    beside = [e.words for e in page.all("div", "beside")]
    trained = f"1 probe, trained on {alone.prompts_train} prompts ({alone.n_train} rows)"
    assert any("alone = " in e and trained in e for e in beside)
    assert any(e.startswith("read: mean") and "8 probes, trained on" in e for e in beside)


def test_what_nobody_plots_is_drawn_all_the_same(read: Path) -> None:
    page = read_page(read)
    figures = [e.attributes["id"] for e in page.all("figure")]
    unplotted = [f"figure-unplotted-{name}" for name in ("by_head", "read", "apart")]
    assert figures == ["figure-asked", *unplotted, "figure-graph"]
    assert not list((read / "run").glob("unplotted*"))
    assert all(link.attributes["href"][1:] in page.ids for link in page.all("a"))
    relative = found(read).plots["asked"].relative
    assert relative is not None
    (pointer,) = [e.words for e in page.all("p", "small") if e.words.startswith("picture: asked")]
    assert pointer == f"picture: asked.svg, relative to whole.mlp.logit_diff = {plain(relative)}"


def test_texts_without_answers_are_among_the_prompts(read: Path) -> None:
    page = read_page(read)
    lines = (read / "texts.txt").read_text().split("\n\n")
    (tables,) = [e.words for e in page.all("table") if e.words.startswith("lines, 24 texts")]
    assert all(line in tables for line in lines[:3])
    assert lines[3] not in tables
    written = json.loads((read / "run/pairs/written.jsonl").read_text().split("\n")[0])
    (tables,) = [e.words for e in page.all("table") if e.words.startswith("written, 24 texts")]
    tokens = Tokens.load(read / "tiny-llama")
    assert "".join(repr(tokens.piece(token))[1:-1] for token in written["tokens"]) in tables


def test_the_first_prompts_stand_there_token_by_token_with_bos(read: Path) -> None:
    page, tokens = read_page(read), Tokens.load(read / "tiny-llama")
    first = json.loads((read / "run/pairs/flip.test.jsonl").read_text().split("\n")[0])
    shown = [e.attributes["title"] for e in page.elements if e.attributes.get("class") == "token"]
    ids = first["tokens"]["base"]
    assert ids[0] == tokens.bos
    titles = [f"token {i}, id {token}" for i, token in enumerate(ids)]
    assert any(shown[start : start + len(ids)] == titles for start in range(len(shown)))
    (section,) = [e for e in page.all("section") if e.words.startswith("Prompts")]
    assert "BOS: <s> is put before every text by the tokenizer." in section.words


def test_texts_are_counted_apart(read: Path) -> None:
    page = read_page(read)
    assert "6 pairs of prompts · 48 texts" in page.all("header")[0].words
