"""The claims of a program: which held, fell or are undecided, and the numbers behind them."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from causaldsl.check.checked import Claim
from causaldsl.check.values import Applied
from causaldsl.report.html.code import coloured
from causaldsl.report.html.figures import estimate, interval_of
from causaldsl.report.html.markup import Html, badge, join, prose, section, tag
from causaldsl.report.kinds.base import Kind, kind, kinds
from causaldsl.report.numbers import MARKS, WITHHELD, decimals, places_of, plain
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.numbers import Number
from causaldsl.results.records import Expectation, Results
from causaldsl.syntax import ast

_INTRODUCTION = join(
    "What the program says will come out. A claim held if the interval of the difference of its ",
    "sides lies on the claimed side of 0, fell if on the other, and else is undecided. Below it ",
    "stand both sides as measured, and that difference; numbers in brackets are 95% intervals. ",
    tag("a", "What the words mean", href="#words"),
    ".",
)
REGISTERED: dict[bool | None, str] = {True: " (registered)", False: " (exploratory)"}
_PICKED = {"max": max, "min": min}
"""Words that give one of the numbers in front of them."""
_LARGE = 1e6
"""From here on a difference is shown with an exponent."""
_STYLES = {"held": "green", "fell": "bold red", "undecided": "yellow"}
_MARKS = {"held": "✓", "fell": "✗", "undecided": "?"}
_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}


@kind
class Claims(Kind[None]):
    fields = ("expectations",)
    terminal_place = 80
    page_place = 10

    def terminal(self, results: Results, out: Console) -> None:
        if not results.expectations:
            return
        table = titled("Claims", ["", "claim"], ["left", "right", "difference", "n"])
        for claim in results.expectations:
            compared = (_short(claim.left), _short(claim.right), _difference(claim))
            sides = compared if claim.found is None else (claim.found, "", "")
            text = claim.text + (" (selected)" if claim.selected else "")
            text += REGISTERED.get(claim.registered, "")
            n = "" if claim.n is None else _units(claim)
            mark = Text(MARKS[claim.verdict], _STYLES[claim.verdict])
            table.add_row(mark, text, *sides, n)
        show(out, table)
        reasons = dict.fromkeys(claim.why for claim in results.expectations if claim.why)
        for why in (why for why in reasons if why not in results.notes):
            out.print(f"undecided: {why}", style="yellow", markup=False, highlight=False)

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        """The verdicts of an `expect`, with both sides."""
        start, end = statement.span.start, statement.span.end
        lines = [
            tag("li", _held(found.verdict), " ", _sides(view, found, claim))
            for claim, found in view.claims
            if claim.span.source == statement.span.source and start <= claim.span.start < end
        ]
        return tag("ul", lines, class_="verdicts") if lines else None

    def section(self, view: View) -> Html | None:
        """Every claim in the program's order, under the comment that explains it there."""
        groups: list[tuple[str, list[Html]]] = []
        for claim, found in view.claims:
            text = _explained(view, claim)
            if not groups or groups[-1][0] != text:
                groups.append((text, []))
            groups[-1][1].append(_claim(view, claim, found))
        if not groups:
            return None
        parts = [
            join(
                tag("p", prose(why), class_="why") if why else None,
                tag("ul", items, class_="claims"),
            )
            for why, items in groups
        ]
        return section("claims", "Claims", tag("p", _INTRODUCTION), parts)


def _held(verdict: str) -> Html:
    """The verdict in a word and a sign, so that it doesn't hang on its colour."""
    return badge(verdict, tag("span", _MARKS[verdict], aria_hidden="true"), f" {verdict}")


def _short(value: float) -> str:
    return WITHHELD if math.isnan(value) else f"{value:.4g}"


def _difference(claim: Expectation) -> str:
    """Left minus right, with its interval; of exact numbers there is none."""
    if claim.difference is None or claim.low is None or claim.high is None:
        return ""
    places = decimals([claim.difference, claim.low, claim.high])
    found, low, high = (
        plain(value, places if abs(value) < _LARGE else None).replace("−", "-")
        for value in (claim.difference, _end(claim.low, -1), _end(claim.high, 1))
    )
    return f"{found} [{low}, {high}]"


def _end(value: float, sign: int) -> float:
    """An end of an interval, which has none where it is not a number."""
    return sign * math.inf if math.isnan(value) else value


def _units(claim: Expectation) -> str:
    return f"{claim.n} {claim.over}" if claim.over == "templates" else str(claim.n)


def _claim(view: View, claim: Claim, expectation: Expectation) -> Html:
    line, _ = claim.span.source.line_column(claim.span.start)
    where = tag("a", f"line {line}", href=f"#{view.anchor(claim.span)}", class_="where")
    plain_sides = [_measured_side(view, claim, side) for side in ("left", "right")]
    measured = [
        tag("li", tag("code", name), " = ", estimate(number), f", n = {number.n}")
        for name, number in _measured(view, claim.condition).items()
        if name not in claim.text
    ]
    ns = sorted({number.n for number in plain_sides if number is not None and number.n > 1})
    count = f" (n = {', '.join(map(str, ns))})" if ns and expectation.n is None else None
    about = [
        tag("code", coloured(claim.text), class_="claim"),
        tag("div", _sides(view, expectation, claim), count, where, class_="sides"),
        _decided(expectation),
        tag("ul", measured, class_="measured") if measured else None,
    ]
    return tag("li", _held(expectation.verdict), tag("div", *about))


def _decided(claim: Expectation) -> Html | None:
    """What decided a claim, or why nothing did."""
    said = [claim.why] if claim.why else []
    if shown := _difference(claim).replace("-", "−"):
        percent = f"{100 * claim.level:g}%"
        said.append(f"difference {shown} at {percent}, n = {_units(claim)}")
    if claim.selected:
        said.append(f"selected: {claim.selected}")
    if claim.registered is not None:
        said.append("registered before the run" if claim.registered else "exploratory")
    return tag("div", "; ".join(said), class_="options") if said else None


def _sides(view: View, expectation: Expectation, claim: Claim) -> Html:
    """Both sides as they came out, with the comparison that was claimed between them.

    A side that is one measured number has its interval.
    """
    if expectation.found is not None:
        return _verdict(view, claim, expectation.found)
    sign = claim.condition.word.identity().get("operator", "")
    values = {"left": expectation.left, "right": expectation.right}
    sides = []
    for side, value in values.items():
        number = _measured_side(view, claim, side)
        known = number is not None and number.n > 1 and not math.isnan(number.mean)
        interval = join(" ", interval_of(number)) if number is not None and known else None
        text = WITHHELD if math.isnan(value) else plain(value, _places(expectation, number))
        sides.append(join(tag("b", text), interval))
    shown = _SIGNS.get(sign, sign)
    between = f" {shown} " if expectation.verdict != "fell" else f", not {shown} "
    if not sign:  # a word, whose name the claim shows
        between = " and "
    return tag("span", sides[0], between, sides[1], class_="compared")


def _verdict(view: View, claim: Claim, found: str) -> Html:
    """What an audit found that the claim is about."""
    name = _name_of(claim.condition.operands[0][1])
    link = tag("a", "evidence", href=f"#audits-{name}")
    return tag("span", "found: ", badge(found), " ", link, class_="compared")


def _places(expectation: Expectation, number: Number | None) -> int | None:
    """Decimals of a measured side, unless they would hide on which side of the claim it lies."""
    if number is None or number.n == 1 or math.isnan(number.mean):
        return None
    places = places_of([number])
    alike = plain(expectation.left, places) == plain(expectation.right, places)
    return None if alike and expectation.left != expectation.right else places


def _measured_side(view: View, claim: Claim, side: str) -> Number | None:
    """The measured number that one side is, if it is no more than that (or the `max` of some)."""
    value = claim.condition.operand(side)
    if not isinstance(value, Applied):
        return None
    found = _measured(view, value) if value.word.word in _PICKED else _read(view, value)
    return next(iter(found.values()), None)


def _measured(
    view: View, applied: Applied, known: dict[Applied, dict[str, Number]] | None = None
) -> dict[str, Number]:
    """The measured numbers that an expression speaks of, by name.

    For `max(sweep.metric)` that is the cell it was found in. ``known`` has what was looked at
    already: a number may be used many times over.
    """
    known = {} if known is None else known
    if applied in known:
        return known[applied]
    found = known[applied] = _read(view, applied)
    for _, value in applied.operands:
        if isinstance(value, Applied):
            found |= _measured(view, value, known)
        elif isinstance(value, tuple):
            cells = {name: n for part in value for name, n in _measured(view, part, known).items()}
            if cells and (pick := _PICKED.get(applied.word.word)):
                best = pick(cells, key=lambda name: cells[name].mean)
                cells = {best: cells[best]}
            found |= cells
    return found


def _read(view: View, applied: Applied) -> dict[str, Number]:
    """The number that a word reads off a record by itself, if it has an interval."""
    options = applied.word.identity()
    found = [
        kind.number(view.results, _name_of(value), options)
        for role, value in applied.operands
        for kind in kinds()
        if kind.operand == role
    ]
    return dict(number for number in found if number is not None)


def _name_of(value: object) -> str:
    """What the program calls the statement that an operand refers to."""
    return str(getattr(value, "name", value))


def _explained(view: View, claim: Claim) -> str:
    """The comment above the claim, or above the lines that it stands directly below."""
    source = claim.span.source
    line, _ = source.line_column(claim.span.start)
    while line > 1 and source.line(line - 1).strip() and line - 1 not in view.comment_lines:
        line -= 1
    above = view.comment_above(line)
    return above[1] if above and above[0] > 1 else ""
