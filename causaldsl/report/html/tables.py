"""Tables: one helper for their frame, and the tables of measures and sweeps."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence

from causaldsl.report.html.figures import estimate, whisker
from causaldsl.report.html.markup import Content, Html, breakable, join, tag
from causaldsl.report.numbers import fine, places_of
from causaldsl.results.numbers import Number
from causaldsl.vocabulary.metrics import headline

Arms = Mapping[str, Mapping[str, Number]]
_NO_PARTS: Mapping[str, Sequence[float]] = {}
_NO_MARKS: Mapping[str, Sequence[str]] = {}


def table(
    columns: Sequence[Content], rows: Sequence[Sequence[Content]], caption: Content, **more: str
) -> Html:
    """A table whose first column names its rows; in a box that scrolls when it is too wide.

    A scrolling box must be reachable by keyboard, so it takes the focus and has a name.
    """
    head = tag("tr", [tag("th", column, scope="col") for column in columns])
    body = [
        tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in cells])
        for first, *cells in rows
    ]
    inside = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), **more)
    name = html.unescape(re.sub("<[^>]*>", "", join(caption)))
    return tag("div", inside, class_="scroll", tabindex=0, role="group", aria_label=name)


def arms_table(
    arms: Arms,
    caption: Content,
    names: Mapping[str, Content],
    what: str,
    parts: Mapping[str, Sequence[float]] = _NO_PARTS,
    marked: Mapping[str, Sequence[str]] = _NO_MARKS,
) -> Html:
    """Arms by metrics; the headline metric also as dots with intervals on one scale.

    ``what`` heads the first column, in which ``names`` say how an arm is written. ``parts`` are the
    headline metric of an arm in parts of the pairs. Arms that are ``marked`` by a metric have as
    many decimals as it takes not to read as zero.
    """
    metrics = list(next(iter(arms.values())))
    main = headline(metrics)
    drawn = [numbers[main] for numbers in arms.values()]
    ends = [end for number in drawn for end in (number.low, number.high) if math.isfinite(end)]
    ends += [value for values in parts.values() for value in values]
    low, high = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
    places = {m: places_of([numbers[m] for numbers in arms.values()]) for m in metrics}

    def said(arm: str, metric: str) -> Html:
        number, decimals = arms[arm][metric], places[metric]
        if arm in marked.get(metric, ()):
            decimals = fine(number.mean, decimals)
        return estimate(number, decimals)

    ordered = [main, *(metric for metric in metrics if metric != main)]
    columns: list[Content] = [what, *map(metric_name, ordered)]
    rows: list[list[Content]] = [
        [
            names.get(arm) or tag("code", arm),
            join(
                whisker(numbers[main], low, high, parts.get(arm, ())),
                said(arm, main),
            ),
            *(said(arm, metric) for metric in ordered[1:]),
        ]
        for arm, numbers in arms.items()
    ]
    return table(columns, rows, caption, class_="numbers few" if len(metrics) <= 2 else "numbers")


def measured_on(name: str, arms: Arms) -> Html:
    """The caption of a measure or sweep: its name, and how many units it was measured on."""
    n = next(iter(next(iter(arms.values())).values())).n
    return join(tag("b", name), f", n = {n}, 95% intervals" if n > 1 else ", n = 1")


def metric_name(metric: str) -> Html:
    return tag("a", tag("code", breakable(metric)), href=f"#metric-{metric}")


def folded(what: str, count: int, made: Html) -> Html:
    """A long table folded away under its number of rows; a short one as it is."""
    if count <= 40:
        return made
    return tag("details", tag("summary", f"{count} {what}"), made)


def records_table(rows: Sequence[Mapping[str, Content]], caption: Content) -> Html:
    """Rows of named cells; a name that some rows lack leaves their cells empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(column) for column in columns] for row in rows]
    return table([c.replace("_", " ") for c in columns], cells, caption)
