"""Attributions: the largest estimates, said to be that, and the sample that was measured too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.html.figures import estimate
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import folded, metric_name, table
from causaldsl.report.kinds.base import Draw, Kind, Named, Options, kind
from causaldsl.report.numbers import with_interval
from causaldsl.report.scatter import plot_attribution
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.routes import AttributedRecord, AttributionRecord

_ROWS = 12
ESTIMATED = "estimates by gradients, not measured"


@kind
class Attributions(Kind[AttributionRecord]):
    fields = ("attributions",)
    title = "Attributions"
    terminal_place = 45
    page_place = 33
    operand = "attribution"

    def tables(self, results: Results, name: str, record: AttributionRecord) -> Iterator[Table]:
        best = record.largest[:_ROWS]
        title = f"{name}: {ESTIMATED}: change of {record.metric} when patched, {record.pairs}"
        title += f" (n = {record.n}), the {len(best)} largest of {record.count}"
        rows = [
            (each.name, with_interval(each.estimate), _measured(each, "not measured"))
            for each in best
        ]
        yield titled(title, [_one(record)], ["estimate", "measured"], rows)
        if record.drawn:
            correlation = record.rank_correlation
            said = "none" if correlation is None else with_interval(correlation)
            title = f"{name}: rank correlation of estimate and measured effect {said}, "
            title += f"over {len(record.drawn)} drawn of {record.count}"
            rows = [
                (each.name, with_interval(each.estimate), _measured(each))
                for each in _by_size(record.drawn)[:_ROWS]
            ]
            yield titled(title, [_one(record)], ["estimate", "measured"], rows)

    def panel(self, view: View, name: str, record: AttributionRecord) -> Html:
        best = record.largest[:_ROWS]
        caption = f": {ESTIMATED}; the {len(best)} largest of {record.count}"
        return join(
            _summary(record),
            _table(_one(record), best, join(tag("b", name), caption)),
            tag("p", tag("a", "all that is listed", href=f"#attributions-{name}"), class_="more"),
        )

    def article(self, view: View, name: str, record: AttributionRecord) -> Html:
        what = _one(record)
        largest = _table(what, record.largest, f"The {len(record.largest)} largest: {ESTIMATED}")
        drawn = _by_size(record.drawn)
        said = f"{len(drawn)} drawn from all {record.count}: the estimate, and the measured effect"
        return tag(
            "article",
            tag("h3", tag("code", name)),
            _summary(record),
            folded("estimates", len(record.largest), largest),
            folded("measured", len(drawn), _table(what, drawn, said)) if drawn else None,
            id=f"attributions-{name}",
        )

    def draw(
        self, view: View, name: str, record: AttributionRecord, asked: Output | None
    ) -> Draw | None:
        return partial(plot_attribution, record, f"{name}, {view.model}")

    def metrics(self, results: Results) -> set[str]:
        return {one.metric for one in results.attributions.values()}

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        record = results.attributions.get(name)
        found = None if record is None else record.rank_correlation
        return None if found is None else (f"{name}.rank_correlation", found)


def _measured(one: AttributedRecord, otherwise: str = "") -> str:
    return otherwise if one.exact is None else with_interval(one.exact)


def _one(record: AttributionRecord) -> str:
    """What each row is about: a site, a neuron, a feature or an edge."""
    return record.of[:-1]


def _by_size(drawn: Sequence[AttributedRecord]) -> list[AttributedRecord]:
    return sorted(drawn, key=lambda one: -abs(one.estimate.mean))


def _summary(record: AttributionRecord) -> Html:
    how = "the gradient of the base run (attribution patching)"
    if record.steps > 1:
        moved = "token embeddings" if record.integrate == "inputs" else "each layer's own values"
        how = f"the mean gradient of {record.steps} runs in which the {moved} go from those of "
        how += "the base to those of the source (integrated gradients)"
    found = record.rank_correlation
    checked: list[Html] = []
    if record.drawn:
        said: Content = "is not defined" if found is None else join("is ", estimate(found))
        what = f"Of {len(record.drawn)} drawn from all, the effect was measured as well: the rank "
        checked.append(tag("p", what, "correlation of estimate and effect ", said, "."))
    return join(
        tag(
            "p",
            tag("strong", "Estimates, no measurements"),
            ": what patching each of ",
            str(record.count),
            " from the source would change ",
            metric_name(record.metric),
            " by, on ",
            tag("code", record.pairs),
            f" ({record.n} pairs), to first order: by {how}. Positive: the patch raises it.",
        ),
        *checked,
    )


def _table(what: str, rows: Sequence[AttributedRecord], caption: Content) -> Html:
    made: list[list[Content]] = [
        [
            tag("code", one.name),
            estimate(one.estimate),
            "not measured" if one.exact is None else estimate(one.exact),
        ]
        for one in rows
    ]
    return table([what, "estimate", "measured"], made, caption, class_="numbers few")
