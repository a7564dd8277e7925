"""Named numbers, and the probes that some of them are the scores of."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from causaldsl.report.html.figures import interval_of
from causaldsl.report.html.markup import Content, Html, breakable, join, section, tag
from causaldsl.report.html.tables import folded, table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.numbers import decimals, plain, with_interval
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.numbers import Number
from causaldsl.results.records import ProbeRecord, Results


@kind
class Numbers(Kind[float]):
    fields = ("numbers", "probes", "intervals")
    terminal_place = 75
    page_place = 55

    def terminal(self, results: Results, out: Console) -> None:
        """All of them, whether claimed or not."""
        rows = [
            (name, with_interval(Number(mean=value, n=1, low=value, high=value)))
            if (found := results.intervals.get(name)) is None
            else (name, with_interval(found))
            for name, value in results.numbers.items()
        ]
        if rows:
            show(out, titled("Named numbers", ["number"], ["value"], rows))

    def panel(self, view: View, name: str, record: float) -> Html:
        """The number; for a probe's score, also what it was trained and tested on."""
        found = view.results.intervals.get(name)
        known = found is not None and found.n > 1
        interval = join(" ", interval_of(found)) if found is not None and known else None
        value = tag("p", tag("code", name), " = ", tag("b", plain(record)), interval)
        probe = view.results.probes.get(name)
        return value if probe is None else join(value, tag("p", probed([probe]), class_="small"))

    def section(self, view: View) -> Html | None:
        """Every probe with its held-out score, and what it was trained and tested on."""
        probes = view.results.probes
        if not probes:
            return None
        steps = any(probe.step is not None for probe in probes.values())
        places = decimals(probe.score for probe in probes.values())
        rows = [_row(name, probe, places, steps) for name, probe in probes.items()]
        columns = ["probe", "held-out score", "trained on", "tested on", "penalty"]
        caption = (
            "Probes. Prompts, and in brackets rows: one for each position, and of a step for each "
            "sign"
        )
        made = table([*columns, *(["step"] if steps else [])], rows, caption, class_="numbers")
        return section("probes", "Probes", folded("probes", len(rows), made))


def probed(probes: list[ProbeRecord]) -> Html:
    """What probes were trained and tested on, in one line."""
    trained = _range(probe.prompts_train for probe in probes)
    tested = _range(probe.prompts_test for probe in probes)
    rows = _range(probe.n_train for probe in probes), _range(probe.n_test for probe in probes)
    what = "1 probe" if len(probes) == 1 else f"{len(probes)} probes"
    return join(
        f"{what}, trained on {trained} prompts ({rows[0]} rows), scored on {tested} others "
        f"({rows[1]} rows): ",
        tag("a", "details", href="#probes"),
    )


def _row(name: str, probe: ProbeRecord, places: int, steps: bool) -> list[Content]:
    title = None if name.startswith(probe.made) else tag("code", breakable(name))
    row: list[Content] = [
        join(title, tag("div", probe.made, class_="options")),
        plain(probe.score, places),
        f"{probe.prompts_train} ({probe.n_train})",
        f"{probe.prompts_test} ({probe.n_test})",
        plain(probe.penalty),
    ]
    return [*row, "" if probe.step is None else plain(probe.step)] if steps else row


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
