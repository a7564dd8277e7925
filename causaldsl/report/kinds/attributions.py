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
from causaldsl.report.numbers import counted, with_interval
from causaldsl.report.scatter import plot_attribution
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.routes import AttributedRecord, AttributionRecord

_ROWS = 12
ESTIMATED = "estimates by gradients, not measured"
BESIDE = "estimates by gradients, beside the measured effects"


@kind
class Attributions(Kind[AttributionRecord]):
    fields = ("attributions",)
    title = "Attributions"
    terminal_place = 45
    page_place = 33
    operand = "attribution"

    def tables(self, results: Results, name: str, record: AttributionRecord) -> Iterator[Table]:
        best = record.largest[:_ROWS]
        title = (
            f"{name}: {_how_known(best)}: change of {record.metric} when patched, {record.pairs}"
        )
        title += (
            f" ({counted(record.n, record.n_pairs)}), the {len(best)} largest of {record.count}"
        )
        rows = [
            (each.name, with_interval(each.estimate), _measured(each, "not measured"))
            for each in best
        ]
        yield titled(title, [_one(record)], ["estimate", "measured"], rows)
        if record.drawn:
            rows = [
                (each.name, with_interval(each.estimate), _measured(each))
                for each in _by_size(record.drawn)[:_ROWS]
            ]
            both = ["estimate", "measured"]
            shown = ([], [], []) if _all_measured(record) else ([_one(record)], both, rows)
            yield titled(f"{name}: {_correlation(record)}", *shown)

    def panel(self, view: View, name: str, record: AttributionRecord) -> Html:
        best = record.largest[:_ROWS]
        caption = f": {_how_known(best)}; the {len(best)} largest of {record.count}"
        return join(
            _summary(record),
            _table(_one(record), best, join(tag("b", name), caption)),
            tag("p", tag("a", "all that is listed", href=f"#attributions-{name}"), class_="more"),
        )

    def article(self, view: View, name: str, record: AttributionRecord) -> Html:
        what = _one(record)
        said = f"The {len(record.largest)} largest: {_how_known(record.largest)}"
        largest = _table(what, record.largest, said)
        drawn = [] if _all_measured(record) else _by_size(record.drawn)
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


def _how_known(rows: Sequence[AttributedRecord]) -> str:
    """What the estimates of a table are, by what stands beside them."""
    return ESTIMATED if any(one.exact is None for one in rows) else BESIDE


def _all_measured(record: AttributionRecord) -> bool:
    """Whether `check` drew all that there are, so that the largest have both numbers already."""
    return len(record.drawn) == record.count <= len(record.largest)


def _correlation(record: AttributionRecord) -> str:
    found = record.rank_correlation
    said = "is withheld" if found is None else with_interval(found)
    said = f"rank correlation of estimate and measured effect {said}, over {_moving(record)}"
    return f"{said} ({record.withheld})" if record.withheld else said


def _moving(record: AttributionRecord) -> str:
    """Which of the sample the rank correlation is over."""
    k = len(record.drawn)
    if not record.idle:
        return f"{k} drawn of {record.count}"
    return (
        f"the {k - record.idle} of {k} drawn of {record.count} that do something on these pairs "
        f"(of the other {record.idle} estimate and effect are 0)"
    )


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
        said: Content = f"is withheld: {record.withheld}."
        if found is not None:
            said = join("is ", estimate(found), ".")
        drawn = (
            f"all {record.count}"
            if _all_measured(record)
            else f"{len(record.drawn)} drawn from all"
        )
        checked.append(
            tag(
                "p",
                f"Of {drawn}, the effect was measured as well: the rank correlation of estimate "
                f"and effect, over {_moving(record)}, ",
                said,
            )
        )
    return join(
        tag(
            "p",
            tag(
                "strong",
                BESIDE.capitalize() if _all_measured(record) else "Estimates, no measurements",
            ),
            ": what patching each of ",
            str(record.count),
            " from the source would change ",
            metric_name(record.metric),
            " by, on ",
            tag("code", record.pairs),
            f" ({counted(record.n, record.n_pairs)}), to first order: by {how}. "
            "Positive: the patch raises it.",
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
