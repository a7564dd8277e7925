"""What the page's words mean: only those that this run uses, from the language's own vocabulary."""

from __future__ import annotations

from causaldsl.report.html.markup import Html, join, prose, section, tag
from causaldsl.report.kinds.base import kinds
from causaldsl.report.view import View
from causaldsl.vocabulary.sites import SITES


def glossary_section(view: View) -> Html:
    """Metrics, interventions, subspaces and sites of this run."""
    intervals = (
        "Numbers in brackets are a 95% bootstrap interval, [low, high], over n units: pairs of "
        "prompts, of which those that share a prompt count once. It says how sure the number is on "
        "new prompts from these templates, not that the reading of it is right. A * or dot marks a "
        "cell that differs from the clean run by an interval that holds for all cells at once."
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
    return section(
        "words",
        "How to read this",
        tag("p", prose(runs)),
        tag("p", intervals),
        [
            join(tag("h3", title), tag("dl", items, class_="words"))
            for title, items in groups
            if items
        ],
    )


def _metrics(view: View) -> list[Html]:
    used = {metric for known in kinds() for metric in known.metrics(view.results)}
    return [
        _entry(name, metric.doc, f"metric-{name}")
        for name, metric in view.graph.vocabulary.metrics.items()
        if name in used
    ]


def _words(view: View) -> list[Html]:
    used = {operation.word.word for operation in view.operations}
    words = view.graph.vocabulary
    # Not in the order in which files were imported, which is another one in every kind of process.
    functions = dict(sorted(words.functions.items(), key=lambda item: item[1].__module__))
    known = words.interventions | functions
    return [_entry(name, cls.summary()) for name, cls in known.items() if name in used]


def _sites(view: View) -> list[Html]:
    used = {operation.at.site.kind for operation in view.operations if operation.at is not None}
    return [_entry(word.form, word.doc) for name, word in SITES.items() if name in used]


def _entry(name: str, text: str, anchor: str | None = None) -> Html:
    return join(tag("dt", tag("code", name), id=anchor), tag("dd", prose(text)))
