"""Audits: the verdict with its rule, and the evidence that decided or all that there is."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from causaldsl.report.calibration import calibration
from causaldsl.report.html.axis import axis
from causaldsl.report.html.figures import estimate
from causaldsl.report.html.markup import Content, Html, badge, join, prose, slug, tag
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.numbers import counted, plain, two_decimals
from causaldsl.report.view import View
from causaldsl.results.numbers import Number
from causaldsl.results.records import AuditRecord, Evidence, Results

_STYLE = {"illusory": "bold red", "faithful": "green", "inconclusive": "yellow"}

_ROLES = (("decided", "What decided"), ("stands in the way", "What stands in the way of a verdict"))
"""What the evidence is that a verdict rests on; the second where there is no definite one."""


@kind
class Audits(Kind[AuditRecord]):
    fields = ("audits",)
    title = "Audits"
    terminal_place = 60
    page_place = 30

    def tables(
        self, results: Results, name: str, record: AuditRecord
    ) -> Iterator[Table | Text | str]:
        yield _verdict(name, record)
        if record.stability:
            yield _stable(record)
        yield _evidence_table(record)
        missing = [row.name for row in record.evidence if row.value is None]
        if missing:
            yield f"Not to be had here: {', '.join(missing)}."
        if name == list(results.audits)[-1]:
            yield next(iter(results.audits.values())).caveat

    def panel(self, view: View, name: str, record: AuditRecord) -> Html:
        """The verdict, its rule, where the evidence lies, and how stable the verdict is."""
        decided = [row for row in record.evidence if row.name in record.decided_by]
        head = _ROLES[record.verdict == "inconclusive"][1]
        return join(
            tag("p", tag("code", name), ": ", badge(record.verdict)),
            tag("p", prose(record.rule), class_="small"),
            _axis(record, f"axis-beside-{slug(name)}"),
            tag("p", _stable(record), class_="small") if record.stability else None,
            _evidence(decided, head) if decided else None,
            tag("p", tag("a", "all the evidence", href=f"#audits-{name}"), class_="more"),
        )

    def article(self, view: View, name: str, record: AuditRecord) -> Html:
        """The verdict with its rule and its limits, and every piece of evidence."""
        found = [row for row in record.evidence if row.value is not None]
        caption = f"Evidence on {record.site}, {record.pairs} ({counted(record.n, record.n_pairs)})"
        lacking = [
            join(tag("dt", row.name), tag("dd", prose(row.meaning), _details(row)))
            for row in record.evidence
            if row.value is None
        ]
        lead = tag("p", "Evidence that was not to be had here:")
        return tag(
            "article",
            tag("h3", tag("code", name), " ", badge(record.verdict)),
            tag("p", tag("code", record.audited)),
            tag("p", prose(record.rule)),
            _axis(record, f"axis-{slug(name)}"),
            tag("p", _stable(record)) if record.stability else None,
            _evidence(found, caption, record) if found else None,
            join(lead, tag("dl", lacking, class_="words")) if lacking else None,
            tag("p", prose(record.caveat), class_="small"),
            _calibration() if name == list(view.results.audits)[-1] else None,
            id=f"audits-{name}",
        )


def _verdict(name: str, audit: AuditRecord) -> Text:
    about = f"{name} = {audit.audited}, {audit.site}, {audit.pairs} "
    about += f"({counted(audit.n, audit.n_pairs)})\n"
    verdict = (audit.verdict.upper(), _STYLE[audit.verdict])
    return Text.assemble(about, verdict, f": {audit.rule}")


def _stable(record: AuditRecord) -> str:
    """What the verdict would have been with other thresholds, or on part of the pairs."""
    others = [f"{verdict}: {what}" for what, verdict in record.stability.items()]
    same = sum(verdict == record.verdict for verdict in record.stability.values())
    words = f"The same in {same} of {len(others)} variations"
    changed = [one for one in others if not one.startswith(record.verdict)]
    return f"{words}. {'; '.join(changed)}." if changed else f"{words}."


def _calibration() -> Html:
    """How often such verdicts were wrong where the truth is known."""
    counted = calibration()
    columns = ["planted models", "illusory", "faithful", "called wrong", "inconclusive", "cases"]
    rows: list[list[Content]] = [
        [
            one.kind,
            f"{one.illusory_right} of {one.illusory}",
            f"{one.faithful_right} of {one.faithful}",
            str(one.wrong),
            str(one.inconclusive),
            str(one.cases),
        ]
        for one in counted.kinds
    ]
    caption = (
        "How often such verdicts are wrong, in planted models whose truth is measured "
        f"({counted.wrong} of {counted.definite} definite verdicts)"
    )
    return table(columns, rows, caption, class_="numbers few")


def _evidence_table(audit: AuditRecord) -> Table:
    role = _ROLES[audit.verdict == "inconclusive"][0]
    out = Table(title=f"Evidence (* {role})", title_justify="left")
    out.add_column("")
    out.add_column("value", justify="right", no_wrap=True)
    out.add_column("points to")
    out.add_column("more", overflow="fold")
    for row in audit.evidence:
        if row.value is not None:
            mark = "* " if row.name in audit.decided_by else ""
            pointing = "" if row.points_to == "neither" else row.points_to
            more = "; ".join(f"{what} {_number(value)}" for what, value in row.details.items())
            out.add_row(mark + row.name, _number(row.value), pointing, more)
    return out


def _number(value: Number | int | float) -> str:
    """`0.57 (0.53 to 0.62)`; a count as one."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return two_decimals(value)
    mean, low, high = map(two_decimals, (value.mean, value.low, value.high))
    return mean if low == high else f"{mean} ({low} to {high})"


def _axis(record: AuditRecord, anchor: str) -> Html | None:
    """The evidence on its axis, and why dots on one side can be no verdict."""
    drawn = axis(record.evidence, record.decided_by, anchor)
    if drawn is None or record.verdict != "inconclusive":
        return drawn
    deciding = [row for row in record.evidence if row.name in record.decided_by]
    aside = [row.name for row in deciding if row.scale is None or not isinstance(row.value, Number)]
    said = "A dot is where one number lies by itself; a full one stands in the way of a verdict"
    if aside:
        said += f", and so does what has no dot: {', '.join(aside)}"
    return join(drawn, tag("p", f"{said}.", class_="small"))


def _evidence(rows: list[Evidence], caption: str, of: AuditRecord | None = None) -> Html:
    """A table of evidence, marked where the verdict rests on it; all of it does without ``of``."""
    marked = of.decided_by if of else ()
    role = _ROLES[of is not None and of.verdict == "inconclusive"][0]
    cells: list[list[Content]] = [
        [
            join(row.name, tag("div", role, class_="options")) if row.name in marked else row.name,
            _value(row.value),
            badge(row.points_to) if row.points_to != "neither" else "neither",
            join(prose(row.meaning), _details(row)),
        ]
        for row in rows
    ]
    columns = ["evidence", "value", "points to", "what it is"]
    return table(columns, cells, caption, class_="evidence")


def _details(row: Evidence) -> Html | None:
    if not row.details:
        return None
    parts = [join(f"{name} ", _value(value)) for name, value in row.details.items()]
    return tag("div", join(*parts, by="; "), class_="options")


def _value(value: Number | int | float | None) -> Content:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return estimate(value) if isinstance(value, Number) else plain(value, 2)
