"""What the page's words mean: only those that this run uses, from the language's own vocabulary."""

from __future__ import annotations

from causaldsl.report.html.markup import Html, join, prose, tag
from causaldsl.report.html.view import View
from causaldsl.vocabulary.base import FUNCTIONS, INTERVENTIONS
from causaldsl.vocabulary.metrics import METRICS
from causaldsl.vocabulary.sites import CALLED_SITES, SITE_WORDS


def glossary_section(view: View) -> Html:
    """Metrics, interventions, subspaces and sites of this run."""
    intervals = (
        "A number in brackets is a 95% bootstrap interval of the mean over pairs of prompts: "
        "[low, high]. It says how sure the mean is on prompts like these, not that the reading of "
        "it is right."
    )
    runs = (
        "Every pair has two prompts, a base and a source. A measure runs the model on the bases "
        "with one change in force (an arm); `clean` is the run without any change."
    )
    groups = [
        ("Metrics", _metrics(view)),
        ("Interventions and words", _words(view)),
        ("Places in the model", _sites(view)),
    ]
    return tag(
        "section",
        tag("h2", "How to read this"),
        tag("p", prose(runs)),
        tag("p", intervals),
        [
            join(tag("h3", title), tag("dl", items, class_="words"))
            for title, items in groups
            if items
        ],
        id="words",
    )


def _metrics(view: View) -> list[Html]:
    used = {m for arms in view.results.measures.values() for row in arms.values() for m in row}
    for subspace in view.results.subspaces.values():
        used |= {m for row in (subspace.effects or {}).values() for m in row}
    used |= {trace.metric for trace in view.results.traces.values()}
    return [
        _entry(name, metric.doc, f"metric-{name}")
        for name, metric in METRICS.items()
        if name in used
    ]


def _words(view: View) -> list[Html]:
    graph = view.graph
    used = {graph.operation(key).word.word for key in graph.order()}
    # Not in the order in which files were imported, which is another one in every kind of process.
    functions = dict(sorted(FUNCTIONS.items(), key=lambda item: item[1].__module__))
    known = INTERVENTIONS | functions
    return [_entry(name, cls.summary()) for name, cls in known.items() if name in used]


def _sites(view: View) -> list[Html]:
    used: set[str] = set()
    for key in view.graph.order():
        at = view.graph.operation(key).at
        if at is not None:
            used.add(at.site.kind)
    calls = {site.word.partition("(")[0]: site for site in CALLED_SITES}
    known = {**SITE_WORDS, **calls}
    return [_entry(word.word, word.doc) for name, word in known.items() if name in used]


def _entry(name: str, text: str, anchor: str | None = None) -> Html:
    return join(tag("dt", tag("code", name), id=anchor), tag("dd", prose(text)))
