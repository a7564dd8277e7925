"""Pictures of the run's folder, made fit to stand inside the page.

Two pictures in one page share its names, and a style rule of one would reach all of it. So every
id is made unique, and rules for `*` move to the picture's own root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from causaldsl.report.html.markup import Html, tag
from causaldsl.report.view import View
from causaldsl.shown import visible

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_POINT = 4 / 3
"""CSS pixels in a point."""


@dataclass(frozen=True)
class Said:
    """What a part of a picture says when it is pointed at, and the `data-` attributes it has."""

    text: str
    data: Mapping[str, str] = field(default_factory=dict)


Words = Mapping[str, Said]
"""Of parts of a picture, by the titles that Graphviz gives them: `name`, or `one->other`."""


def figure(
    view: View, stem: str, suffix: str, what: str, words: Words | None = None
) -> Html | None:
    """A picture with its caption, once in the page; one without ``suffix`` has no file.

    One whose parts have ``words`` can be explored (`page/explore.js`).
    """
    svg = view.drawing(stem)
    if stem in view.placed or svg is None:
        return None
    view.placed.add(stem)
    drawn = inline(svg, f"picture-{stem}", what, words)
    return tag(
        "figure",
        tag("div", drawn, class_="scroll card", tabindex=0, role="group", aria_label=what),
        tag("figcaption", f"{what}. File: {stem}{suffix}") if suffix else None,
        id=f"figure-{stem}",
        class_="pathways" if words else None,
    )


def inline(text: str, name: str, what: str, words: Words | None = None) -> Html:
    """SVG text as an element of the page, with a title, no fixed size and ids of its own.

    ``name`` is unique among the page's pictures. A picture may shrink to its box, but not so far
    that its words can't be read: below that the box scrolls.
    """
    root = ElementTree.fromstring(text)
    width = _points(root)
    for element in root.iter():
        for child in list(element):
            said = (words or {}).get(child.text or "") if child.tag == f"{_SVG}title" else None
            if said is not None:
                child.text = visible(said.text)
                element.attrib |= {f"data-{key}": visible(v) for key, v in said.data.items()}
            elif child.tag == f"{_SVG}metadata" or (
                child.tag == f"{_SVG}title" and element.get("class") != "said"
            ):
                element.remove(child)
    styles = [rule for style in _take_styles(root) for rule in _rules(style)]
    inherited = "".join(body for selector, body in styles if selector == "*")
    _rename(root, name)
    for useless in ("width", "height", "version"):
        root.attrib.pop(useless, None)
    size = f"width:100%;min-width:{width * 0.55:.0f}px;max-width:{width * 1.05:.0f}px;"
    root.set("id", name)
    root.set("style", size + inherited)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title")
    title = ElementTree.Element(f"{_SVG}title", {"id": f"{name}-title"})
    title.text = what
    root.insert(0, title)
    others = "".join(f"#{name} {rule}{{{body}}}" for rule, body in styles if rule != "*")
    if others:
        style = ElementTree.Element(f"{_SVG}style")
        style.text = others
        root.insert(1, style)
    return Html(_serialize(root))


def natural_width(text: str) -> float:
    """The width that a picture has by itself, in pixels."""
    return _points(ElementTree.fromstring(text))


def _points(root: ElementTree.Element) -> float:
    """The picture's natural width in pixels."""
    match = re.fullmatch(r"([\d.]+)(pt|px|)", root.get("width", ""))
    if match is None:
        return float(root.get("viewBox", "0 0 800 600").split()[2])
    return float(match[1]) * (_POINT if match[2] == "pt" else 1)


def _take_styles(root: ElementTree.Element) -> list[str]:
    found = []
    for element in root.iter():
        for child in list(element):
            if child.tag == f"{_SVG}style":
                found.append(child.text or "")
                element.remove(child)
    return found


def _rules(style: str) -> list[tuple[str, str]]:
    plain = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    return [(s.strip(), body.strip()) for s, body in re.findall(r"([^{}]+)\{([^{}]*)\}", plain)]


def _rename(root: ElementTree.Element, name: str) -> None:
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in (_LINK, "href"):
                del element.attrib[key]
                if value.startswith("#"):
                    element.set("href", f"#{name}-{value[1:]}")
                elif value.startswith("data:image/"):  # and nothing from outside
                    element.set("href", value)
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _serialize(root: ElementTree.Element) -> str:
    """The picture as HTML wants it: no prefixes, no declarations of name spaces."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in [k for k in element.attrib if k.startswith("{")]:
            value = element.attrib.pop(key)
            if key.endswith("}space"):
                element.set("style", f"white-space:pre;{element.get('style', '')}")
            elif not key.startswith("{http://www.w3.org/1999/xlink}"):
                element.set(key.rpartition("}")[2], value)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
