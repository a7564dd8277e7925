"""The page: the program with its results, and the sections of every kind of record."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from causaldsl.report.html.markup import Html, breakable, prose, tag
from causaldsl.report.html.records import records_section
from causaldsl.report.kinds.base import kinds, of_no_kind
from causaldsl.report.numbers import plain
from causaldsl.report.page.glossary import glossary_section
from causaldsl.report.page.program import program_section
from causaldsl.report.view import View
from causaldsl.results.records import Results

_PROGRAM, _OF_NO_KIND, _GLOSSARY = 20, 39, 90
"""Where the page's own sections stand among those of the kinds."""


def report_html(view: View) -> str:
    """The report of a run as the text of one HTML page. Equal results give equal text.

    The pictures that the page shows are in the view's folders already.
    """
    main = list(_sections(view))
    name, results = view.program.path.name, view.results
    script = tag("script", Html(_script()))
    body = tag("body", _header(view), _contents(main), tag("main", main), script)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"causaldsl {results.provenance.get('causaldsl')}"),
        tag("title", f"{name}: {_outcome(results)}"),
        tag("style", Html(_style())),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _sections(view: View) -> Iterator[Html]:
    """All sections, made in their order: a picture stands where it comes first."""
    makers: list[tuple[int, Callable[[], Html | None]]]
    makers = [(known.page_place, partial(known.section, view)) for known in kinds()]
    makers.append((_PROGRAM, partial(program_section, view)))
    makers.append((_GLOSSARY, partial(glossary_section, view)))
    for field, records in of_no_kind(view.results).items():
        makers.append((_OF_NO_KIND, partial(records_section, field, records)))
    for _, make in sorted(makers, key=lambda maker: maker[0]):
        made = make()
        if made is not None:
            yield made


@cache
def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    return (Path(__file__).parent / "explore.js").read_text(encoding="utf-8")


@cache
def _policy() -> str:
    """Nothing is loaded from anywhere, and no script but the page's own runs."""
    digest = b64encode(sha256(_script().encode()).digest()).decode()
    own = f"script-src 'sha256-{digest}'"
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {own}"


def _outcome(results: Results) -> str:
    claims = results.expectations
    if not claims:
        return "no claims"
    found: Counter[str] = Counter(claim.verdict for claim in claims)
    if found["held"] == len(claims):
        return "its claim held" if len(claims) == 1 else f"all {len(claims)} claims held"
    said = [(found[verdict], verdict) for verdict in ("fell", "undecided") if found[verdict]]
    (count, verdict), *rest = said
    return ", ".join([f"{count} of {len(claims)} claims {verdict}", *(f"{n} {v}" for n, v in rest)])


def _header(view: View) -> Html:
    results = view.results
    outcome = _outcome(results).capitalize()
    facts = [str(results.provenance.get("model", ""))]
    facts += [fact for known in kinds() for fact in known.facts(view)]
    if seconds := results.timings.get("run_seconds"):
        facts.append(f"{plain(round(seconds))} s")
    return tag(
        "header",
        tag("p", f"Report of {view.program.path.name}", class_="kind"),
        tag("h1", breakable(view.program.path.stem)),
        tag("p", prose(view.opening), class_="opening") if view.opening else None,
        tag(
            "p",
            tag("strong", outcome, class_=results.verdict),
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
