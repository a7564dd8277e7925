"""HTML as values: text is escaped on the way in, so that no caller can forget to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

from causaldsl.shown import visible

_VOID = {"meta", "img", "br", "link", "hr", "col", "wbr"}


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content: TypeAlias = "Html | str | Iterable[Html | str] | None"


def tag(name: str, /, *content: Content, **attributes: str | int | bool | None) -> Html:
    """An element. ``class_`` gives `class`, ``aria_label`` gives `aria-label`; None and False go.

    >>> tag("td", "a < b", class_="number")
    '<td class="number">a &lt; b</td>'
    """
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*content)}</{name}>")


def join(*content: Content, by: str = "") -> Html:
    """Pieces of content, one after the other; plain text is escaped."""
    pieces: list[str] = []
    for part in content:
        if part is None:
            continue
        if isinstance(part, str):
            pieces.append(part if isinstance(part, Html) else _escaped(part))
        else:
            pieces += [join(piece) for piece in part]
    return Html(by.join(pieces))


def section(anchor: str, title: str, *content: Content) -> Html:
    """A section of the page, which the contents at its head link to."""
    return tag("section", tag("h2", title), *content, id=anchor)


def badge(kind: str, *content: Content) -> Html:
    """A verdict in words, on the ground of its kind: `held`, `illusory`."""
    return tag("span", *(content or [kind]), class_=f"badge {kind}")


def slug(name: str) -> str:
    """A name as an id and as a file's name."""
    return re.sub(r"\W+", "_", name).strip("_")


def prose(text: str) -> Html:
    """A sentence in which `backticks` mark code.

    >>> prose("is `a < b` so?")
    'is <code>a &lt; b</code> so?'
    """
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one is left open
        return join(text)
    return join(tag("code", piece) if i % 2 else piece for i, piece in enumerate(pieces))


def breakable(name: str) -> Html:
    """A name that may go on in the next line after a `_` or a dot."""
    return Html(re.sub(r"([_.])(?=.)", r"\1<wbr>", _escaped(name)))


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)))}"'


def _escaped(text: str) -> str:
    return html.escape(visible(text), quote=False)
