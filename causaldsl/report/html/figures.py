"""Numbers in the page, and small pictures of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from causaldsl.report.html.markup import Html, join, tag
from causaldsl.report.numbers import WITHHELD, percent, places_of, plain
from causaldsl.results.numbers import Number


def estimate(number: Number, places: int | None = None) -> Html:
    """A mean, and its interval if there is more than one unit behind it."""
    if math.isnan(number.mean):
        return tag("span", WITHHELD, class_="interval")
    if number.n == 1:
        return tag("span", plain(number.mean), class_="mean")
    if places is None:
        places = places_of([number])
    mean = tag("span", plain(number.mean, places), class_="mean")
    return join(mean, " ", interval_of(number, places))


def interval_of(number: Number, places: int | None = None) -> Html:
    if places is None:
        places = places_of([number])
    low, high = plain(number.low, places), plain(number.high, places)
    return tag("span", f"[{low}, {high}]", class_="interval")


def share(number: Number) -> Html:
    """A share with its interval in per cent."""
    mean, low, high = map(percent, (number.mean, number.low, number.high))
    interval = tag("span", f"[{low}, {high}]", class_="interval") if number.n > 1 else None
    return join(tag("span", mean, class_="mean"), " ", interval)


def whisker(number: Number, low: float, high: float, parts: Sequence[float] = ()) -> Html:
    """A dot with its interval on the scale ``low`` to ``high``, which has 0 marked.

    ``parts`` are the same number in parts of the pairs, as templates: small dots.

    It repeats a number that stands beside it, so it is hidden from screen readers.
    """
    width, height = 120.0, 14.0

    def x(value: float) -> str:
        return f"{4 + (width - 8) * (value - low) / ((high - low) or 1.0):.1f}"

    middle = height / 2
    if math.isnan(number.mean):
        return Html("")
    line = f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{height:g}"/>'
    if number.n > 1:
        line += (
            f'<line class="span" x1="{x(number.low)}" x2="{x(number.high)}" '
            f'y1="{middle:g}" y2="{middle:g}"/>'
        )
    dots = "".join(f'<circle class="part" cx="{x(part)}" cy="{middle:g}" r="2"/>' for part in parts)
    return Html(
        f'<svg class="whisker" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" aria-hidden="true" focusable="false">{line}{dots}'
        f'<circle cx="{x(number.mean)}" cy="{middle:g}" r="3.5"/></svg>'
    )


def loss_curve(losses: Sequence[float], name: str) -> Html:
    """The loss of every epoch as a small line with its first and last value in words."""
    first, last = plain(losses[0], 3), plain(losses[-1], 3)
    what = f"training loss of {name} over {len(losses)} epochs: from {first} to {last}"
    words = tag("span", f"loss {first} → {last}", class_="interval")
    if len(losses) == 1:
        return tag("span", f"loss {first}", class_="interval")
    low, high = min(losses), max(losses)
    across, up = 112 / (len(losses) - 1), 24 / ((high - low) or 1.0)
    points = [(f"{4 + across * i:.1f}", f"{4 + up * (high - y):.1f}") for i, y in enumerate(losses)]
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in points)
    picture = Html(
        '<svg class="curve" viewBox="0 0 120 32" width="120" height="32" role="img">'
        f'{tag("title", what)}<polyline points="{" ".join(map(",".join, points))}"/>'
        f"{dots if len(points) <= 12 else ''}</svg>"
    )
    return join(picture, " ", words)
