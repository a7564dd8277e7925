"""The page: claims first, then the program with its results, then everything behind them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph
from causaldsl.report.html.audits import audit_section
from causaldsl.report.html.claims import claims_section
from causaldsl.report.html.code import coloured
from causaldsl.report.html.figures import plain
from causaldsl.report.html.glossary import glossary_section
from causaldsl.report.html.markup import Content, Html, breakable, join, prose, tag
from causaldsl.report.html.numbers import probes_section, tables_section
from causaldsl.report.html.panels import caption, cell_names, figure
from causaldsl.report.html.program import program_section
from causaldsl.report.html.prompts import counts, prompts_section
from causaldsl.report.html.provenance import provenance_section
from causaldsl.report.html.records import named_records, record_section, shown, slug
from causaldsl.report.html.tables import arms_table, table
from causaldsl.report.html.traces import trace_section
from causaldsl.report.html.view import View
from causaldsl.results.records import AuditRecord, Results, TraceRecord

_TITLES = {"audits": "Audits", "traces": "Traces", "comparisons": "Comparisons of traces"}


def report_html(
    program: CheckedProgram, graph: Graph, results: Results, folder: Path, drawn: Path | None = None
) -> str:
    """The report of a run as the text of one HTML page.

    ``folder`` is the run's, with its pictures already in it; ``drawn`` has an SVG of those that are
    in another format there. Equal results give equal text.
    """
    view = View(program, graph, results, folder, drawn)
    sections = [
        claims_section(view),
        program_section(view),
        *_record_sections(view),
        _sweeps(view),
        tables_section(view),
        probes_section(view),
        _subspaces(view),
        _pictures(view),
        prompts_section(view),
        glossary_section(view),
        _notes(view),
        provenance_section(view),
    ]
    main = [section for section in sections if section is not None]
    name = program.path.name
    body = tag("body", _header(view), _contents(main), tag("main", main))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"causaldsl {results.provenance.get('causaldsl')}"),
        tag("title", f"{name}: {_outcome(results)}"),
        tag("style", Html(_style())),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


@cache
def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def _outcome(results: Results) -> str:
    claims = results.expectations
    if not claims:
        return "no claims"
    held = sum(claim.held for claim in claims)
    if held == len(claims):
        return "its claim held" if held == 1 else f"all {held} claims held"
    return f"{len(claims) - held} of {len(claims)} claims fell"


def _header(view: View) -> Html:
    results = view.results
    fell = not results.held
    outcome = _outcome(results).capitalize()
    facts = [str(results.provenance.get("model", ""))]
    facts += counts(view)
    facts += [f"{name} = {shown(value)}" for name, value in view.results.params.items()]
    if seconds := results.timings.get("run_seconds"):
        facts.append(f"{plain(round(seconds))} s")
    return tag(
        "header",
        tag("p", f"Report of {view.program.path.name}", class_="kind"),
        tag("h1", breakable(view.program.path.stem)),
        tag("p", prose(view.opening), class_="opening") if view.opening else None,
        tag(
            "p",
            tag("strong", outcome, class_="fell" if fell else "held"),
            " · " + " · ".join(fact for fact in facts if fact),
            class_="outcome",
        ),
    )


def _contents(sections: list[Html]) -> Html:
    """Links to the sections, by the names of their headings."""
    links = []
    for section in sections:
        anchor = section[: section.index(">")].split('id="')[1].split('"')[0]
        title = section.split("<h2>", 1)[1].split("</h2>", 1)[0]
        links.append(tag("a", Html(title), href=f"#{anchor}"))
    return tag("nav", links, aria_label="Contents")


def _record_sections(view: View) -> list[Html]:
    return [
        tag(
            "section",
            tag("h2", _TITLES.get(field, field.replace("_", " ").capitalize())),
            [_record(view, field, name, record) for name, record in records.items()],
            id=field,
        )
        for field, records in named_records(view).items()
    ]


def _record(view: View, field: str, name: str, record: Any) -> Html:
    if isinstance(record, TraceRecord):
        return trace_section(name, record)
    if isinstance(record, AuditRecord):
        return audit_section(name, record)
    picture = figure(view, slug(name), ".svg", name) if field == "comparisons" else None
    return join(record_section(field, name, record), picture)


def _sweeps(view: View) -> Html | None:
    """Every cell of every sweep, folded away."""
    parts = []
    for name in view.results.sweeps:
        arms = view.results.measures[name]
        n = next(iter(arms["clean"].values())).n
        what, names = cell_names(view, name)
        summary = tag("summary", tag("code", name), f": {len(arms) - 1} cells")
        cells = arms_table(arms, caption(name, n), names, what)
        parts.append(tag("details", summary, cells, id=f"all-{name}"))
    return tag("section", tag("h2", "Sweeps in full"), parts, id="sweeps") if parts else None


def _subspaces(view: View) -> Html | None:
    subspaces = view.results.subspaces
    if not subspaces:
        return None
    rows: list[list[Content]] = [
        [
            tag("code", name),
            _made(view, name, record.made),
            str(record.rank),
            str(record.width),
            plain(record.norm),
        ]
        for name, record in subspaces.items()
    ]
    columns = ["name", "how it was made", "dimensions", "of", "length"]
    return tag(
        "section",
        tag("h2", "Subspaces"),
        table(columns, rows, "Directions and subspaces that the program names"),
        id="subspaces",
    )


def _made(view: View, name: str, label: str) -> Html:
    """The definition as the program has it; of a learned one also all its options."""
    applied = view.program.named[name]
    definition = tag("code", coloured(" ".join(applied.span.text.split())))
    return (
        join(definition, tag("div", label, class_="options"))
        if applied.word.learned
        else definition
    )


def _pictures(view: View) -> Html | None:
    """The pictures that don't stand at their statement, and the compiled graph."""
    found = [
        figure(view, o.stem, o.suffix, f"{o.target}: its operations with the measured effects")
        for o in view.pictures()
    ]
    for path in sorted(view.folder.glob("*.svg")):
        if path.stem != "graph":
            found.append(figure(view, path.stem, ".svg", f"{path.stem}, as the run drew it"))
    found.append(figure(view, "graph", ".svg", "The compiled program with its measured effects"))
    shown = [picture for picture in found if picture is not None]
    if not shown:
        return None
    return tag("section", tag("h2", "Pictures"), shown, id="pictures")


def _notes(view: View) -> Html | None:
    if not view.results.notes:
        return None
    items = [tag("li", prose(note)) for note in view.results.notes]
    return tag("section", tag("h2", "Notes of the run"), tag("ul", items), id="notes")
