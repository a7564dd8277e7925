"""Records of any shape as tables: how the page shows a field of the results that has no kind.

Such records hold plain values, numbers with intervals, and lists of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from causaldsl.report.html.figures import estimate
from causaldsl.report.html.markup import Content, Html, join, section, slug, tag
from causaldsl.report.html.tables import folded, records_table
from causaldsl.report.numbers import plain
from causaldsl.results.numbers import Number


def records_section(field: str, records: Mapping[str, Any]) -> Html:
    """All records of a field of the results."""
    parts = [record_article(field, name, record) for name, record in records.items()]
    return section(field, field.replace("_", " ").capitalize(), parts)


def record_panel(field: str, name: str, record: Any) -> Html:
    """A record in short: its plain values, and a link to all of it."""
    more = tag("a", f"all of {name}", href=f"#{field}-{slug(name)}")
    return join(_facts(_items(record)), tag("p", more, class_="more"))


def record_article(field: str, name: str, record: Any) -> Html:
    """All of one record: its plain values, then a table for each of its lists."""
    items = _items(record)
    lists = {key: value for key, value in items.items() if _is_rows(value)}
    inner = [_rows(key, value) for key, value in lists.items()]
    return tag(
        "article",
        tag("h3", tag("code", name)),
        _facts({k: v for k, v in items.items() if k not in lists}),
        inner,
        id=f"{field}-{slug(name)}",
    )


def _items(record: Any) -> dict[str, Any]:
    if isinstance(record, BaseModel):
        return {field: getattr(record, field) for field in type(record).model_fields}
    return dict(record) if isinstance(record, dict) else {"value": record}


def _is_rows(value: Any) -> bool:
    """Whether a value is a table: a list of records, or records by name."""
    if isinstance(value, dict):
        value = list(value.values())
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, BaseModel | dict) and not isinstance(first, Number)


def _rows(key: str, rows: Any) -> Html:
    title = key.replace("_", " ")
    named = {"": list(rows)} if isinstance(rows, list) else rows
    flat: list[dict[str, Content]] = []
    for name, row in named.items():
        for items in map(_items, row) if isinstance(row, list) else [_items(row)]:
            first: dict[str, Content] = {title: name} if name else {}
            flat.append(first | {column: shown(value) for column, value in items.items()})
    return folded(title, len(flat), records_table(flat, tag("b", title)))


def _facts(items: dict[str, Any]) -> Html | None:
    found = {k: v for k, v in items.items() if not _is_rows(v) and v not in (None, "", [], {})}
    return facts(found) if found else None


def facts(items: Mapping[str, Any]) -> Html:
    """Plain values by name, as a list."""
    pairs = (
        join(tag("dt", key.replace("_", " ")), tag("dd", shown(value)))
        for key, value in items.items()
    )
    return tag("dl", pairs, class_="facts")


def shown(value: Any) -> Content:
    """One value of a record as content of a cell."""
    if isinstance(value, Number):
        return estimate(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return plain(value)
    if value is None:
        return ""
    if isinstance(value, BaseModel | dict):
        return join((join(tag("b", k), " ", shown(v)) for k, v in _items(value).items()), by="; ")
    if isinstance(value, list | tuple):
        return Html(", ".join(join(shown(part)) for part in value))
    return str(value)
