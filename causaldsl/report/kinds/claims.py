"""The claims of a program: which held, which fell, and the measured numbers behind them."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from causaldsl.check.checked import Claim
from causaldsl.check.values import Applied
from causaldsl.report.html.code import coloured
from causaldsl.report.html.figures import estimate, interval_of
from causaldsl.report.html.markup import Html, badge, join, prose, section, tag
from causaldsl.report.kinds.base import Kind, kind, kinds
from causaldsl.report.numbers import places_of, plain
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.records import Expectation, Number, Results
from causaldsl.syntax import ast

_INTRODUCTION = join(
    "What the program says will come out, each claim as a comparison that held or fell. ",
    "Below a claim stand both sides as measured; a number in brackets is a 95% interval. ",
    tag("a", "What the words mean", href="#words"),
    ".",
)
_PICKED = {"max": max, "min": min}
"""Words that give one of the numbers in front of them."""
_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}


@kind
class Claims(Kind[None]):
    fields = ("expectations",)
    terminal_place = 80
    page_place = 10

    def terminal(self, results: Results, out: Console) -> None:
        if not results.expectations:
            return
        table = titled("Claims", ["", "claim"], ["left", "right"])
        for claim in results.expectations:
            compared = (f"{claim.left:.4g}", f"{claim.right:.4g}")
            sides = compared if claim.found is None else (claim.found, "")
            mark = Text("held", "green") if claim.held else Text("FELL", "bold red")
            table.add_row(mark, claim.text, *sides)
        show(out, table)

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        """The verdicts of an `expect`, with both sides."""
        start, end = statement.span.start, statement.span.end
        lines = [
            tag("li", _held(found.held), " ", _sides(view, found, claim))
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


def _held(held: bool) -> Html:
    """The verdict in a word and a sign, so that it doesn't hang on its colour."""
    sign, word = ("✓", "held") if held else ("✗", "fell")
    return badge(word, tag("span", sign, aria_hidden="true"), f" {word}")


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
    count = f" (n = {', '.join(map(str, ns))})" if ns else None
    about = [
        tag("code", coloured(claim.text), class_="claim"),
        tag("div", _sides(view, expectation, claim), count, where, class_="sides"),
        tag("ul", measured, class_="measured") if measured else None,
    ]
    return tag("li", _held(expectation.held), tag("div", *about))


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
        interval = None if number is None or number.n == 1 else join(" ", interval_of(number))
        sides.append(join(tag("b", plain(value, _places(expectation, number))), interval))
    shown = _SIGNS.get(sign, sign)
    between = f" {shown} " if expectation.held else f", not {shown} "
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
    if number is None or number.n == 1:
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
