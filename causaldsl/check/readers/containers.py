"""The rows of a data file, whatever it is: told by its content, never by its name.

A line that can't be read costs itself: its place is kept with the reason, and the rows around it
are read. What is damaged as a whole is refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causaldsl.check.files import missing_file
from causaldsl.check.limits import Limits
from causaldsl.diagnostics import Mistake
from causaldsl.shown import one_line

LISTS = ("prompts", "samples", "results", "data", "examples", "items")
"""Under which name an object of JSON keeps its rows."""
_FORMS = "a data file is CSV, TSV, JSON, JSON lines, Parquet, or a dataset that was saved to disk"
_JOINED = 50
"""Lines that one quoted field of a CSV may have."""

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows with their places (`line 3`, `item 2`), and what the file says of all of them.

    ``damaged`` are the places that could not be read, each with the reason.
    """

    container: str
    unit: str
    rows: list[tuple[str, Row]] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    about: Row = field(default_factory=dict)

    def add(self, number: int, row: Mapping[str, Any]) -> None:
        try:
            json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            self.damage(number, "has half a character")
        else:
            self.rows.append((f"{self.unit} {number}", lowered(row)))

    def damage(self, number: int, reason: str) -> None:
        self.damaged.append((f"{self.unit} {number}", reason))


def read_rows(path: Path, written: str, limits: Limits) -> Rows:
    """The rows of a file; ``written`` is what the program calls it.

    Raises:
        Mistake: if it is missing, or is no data file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(written, path) from None
    except OSError as error:
        raise Mistake("unreadable-file", f"{written} can't be read: {error.strerror}") from None
    for magic, opener in _MAGIC.items():
        if content.startswith(magic):
            return opener(content, written, limits)
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise Mistake("empty-file", f"{written} is empty", _FORMS)
    if b"\0" in content:
        raise Mistake("not-data", f"{written} is not text, nor Parquet or Arrow", _FORMS)
    is_json = content.lstrip()[:1] in (b"[", b"{")
    return _json(content, written) if is_json else _table(content, written)


def lowered(row: Mapping[str, Any]) -> Row:
    """A row with its columns' names in lower case, and inside of objects too.

    What `positions` names is a program's own.
    """
    named = {str(name).strip().lower(): value for name, value in row.items()}
    return {
        name: lowered(value) if isinstance(value, Mapping) and name != "positions" else value
        for name, value in named.items()
    }


def given_rows(table: Any, name: str) -> Rows:
    """The rows of a table that Python gives: a frame, a table, a dataset, or a list of mappings.

    Raises:
        Mistake: for anything else.
    """
    ways = ("to_pylist", "to_dicts", "to_list")  # pyarrow, polars, datasets
    method = next((way for way in ways if callable(getattr(table, way, None))), None)
    if hasattr(table, "columns") and callable(getattr(table, "to_dict", None)):
        found = table.to_dict("records")  # pandas
    elif method is not None:
        found = getattr(table, method)()
    else:
        found = table
    if not isinstance(found, list | tuple) or not all(isinstance(row, Mapping) for row in found):
        raise Mistake(
            "not-a-table",
            f"what was given for `{name}` is no table, but {type(table).__name__}",
            "give a frame of pandas or polars, a pyarrow table, or a list of dictionaries",
        )
    rows = Rows("a given table", "row")
    for number, row in enumerate(found, 1):
        # A missing cell of pandas is a number that is none.
        rows.add(number, {key: None if cell != cell else cell for key, cell in row.items()})
    return rows


# JSON


def _json(content: bytes, written: str) -> Rows:
    """The whole file as JSON, else one object a line."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        rows = _json_lines(content)
        if rows.rows:
            return rows
        raise Mistake(
            "bad-json",
            f"{written} is not JSON: {_reason(error)}",
            "write a list of objects, or one object a line",
        ) from None
    one = isinstance(found, dict) and b"\n" not in content.strip() and not _listed(found)
    if one and not _is_map(found):
        return _json_lines(content)  # a single row
    rows = Rows("JSON", "item")
    for number, (key, value) in enumerate(_items(found, written, rows), 1):
        if isinstance(value, dict):
            rows.add(number, value if key is None else {"key": key} | value)
        else:
            rows.damage(number, "is not an object")
    return rows


def _items(found: Any, written: str, rows: Rows) -> Iterator[tuple[str | None, Any]]:
    if isinstance(found, list):
        return ((None, value) for value in found)
    if isinstance(found, dict):
        if (name := _listed(found)) is not None:
            rows.about = lowered({key: value for key, value in found.items() if key != name})
            return ((None, value) for value in found[name])
        if _is_map(found):
            return iter(found.items())
    names = ", ".join(f"`{name}`" for name in LISTS)
    raise Mistake(
        "no-rows",
        f"{written} is JSON without a list of rows",
        f"write a list of objects, or an object that has one under {names}",
    )


def _listed(found: Mapping[str, Any]) -> str | None:
    return next(
        (name for name in found if name.lower() in LISTS and isinstance(found[name], list)), None
    )


def _is_map(found: Mapping[str, Any]) -> bool:
    """Whether an object holds rows under their keys, and is no row of objects itself."""
    rows = bool(found) and all(isinstance(value, dict) for value in found.values())
    return rows and not any("counterfactual" in name.lower() for name in found)


def _json_lines(content: bytes) -> Rows:
    rows = Rows("JSON lines", "line")
    for number, line in enumerate(content.split(b"\n"), 1):
        # The lines of a list, too, one object in each.
        text = line.strip().removeprefix(b"[").removesuffix(b"]").strip().removesuffix(b",")
        if not text:
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            rows.damage(number, f"is not JSON ({_reason(error)})")
            continue
        if isinstance(row, dict):
            rows.add(number, row)
        else:
            rows.damage(number, "is not an object")
    return rows


def _reason(error: Exception) -> str:
    return one_line(error, 120) or type(error).__name__


# CSV and TSV


def _table(content: bytes, written: str) -> Rows:
    """A header, then a row a line; a quoted field may have line breaks."""
    lines = content.split(b"\n")
    first = next(number for number, line in enumerate(lines) if line.strip())
    tab = b"\t" in lines[first]
    delimiter = "\t" if tab else ","
    header = _fields([lines[first]], delimiter)
    names = [name.strip().lower() for name in header or ()]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names[1:]):
        raise Mistake(
            "no-header",
            f"{written} does not begin with a row of different column names",
            f"{_FORMS}; a table begins with its columns' names",
        )
    rows = Rows("TSV" if tab else "CSV", "line")
    here = first + 1
    while here < len(lines):
        taken, found = 1, None
        if lines[here].strip():
            taken, found = _row(lines, here, delimiter, len(names))
            if isinstance(found, str):
                rows.damage(here + 1, found)
            else:
                cells = zip(names, found, strict=True)
                rows.add(here + 1, {name: cell for name, cell in cells if name})
        here += taken
    return rows


def _row(lines: list[bytes], at: int, delimiter: str, width: int) -> tuple[int, list[str] | str]:
    """How many lines a row takes and its cells, or why it has none.

    A row goes on over lines that are no rows by themselves, so that a quote that never closes
    costs its own line and not the next ones.
    """
    alone = _fields(lines[at : at + 1], delimiter)
    if alone is not None and len(alone) == width:
        return 1, alone
    if alone is None:
        for end in range(at + 1, min(at + _JOINED, len(lines))):
            by_itself = _fields(lines[end : end + 1], delimiter)
            if by_itself is not None and len(by_itself) == width:
                break
            joined = _fields(lines[at : end + 1], delimiter)
            if joined is not None and len(joined) == width:
                return end + 1 - at, joined
        return 1, "has a quote that does not close, or is not UTF-8"
    return 1, f"has {len(alone)} fields and the header {width}"


def _fields(lines: list[bytes], delimiter: str) -> list[str] | None:
    """The fields of one row; None if it can't be read."""
    if delimiter == "," and sum(line.count(b'"') for line in lines) % 2:
        return None
    try:
        text = b"\n".join(lines).decode("utf-8")
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    if len(found) == 1:
        return [cell.rstrip("\r") if cell.endswith("\r") else cell for cell in found[0]]
    return None


# Parquet and Arrow


def _parquet(content: bytes, written: str, limits: Limits) -> Rows:
    from pyarrow import BufferReader, parquet

    def table() -> Any:
        file = parquet.ParquetFile(BufferReader(content))
        about = file.metadata
        size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        limits.check("pairs", about.num_rows, "too-many", f"{written} has {{}} rows")
        limits.check("bytes", size, "too-large", f"{written} has {{}} bytes when it is unpacked")
        return file.read()

    return _arrow_rows(table, written, "Parquet", limits)


def _arrow_file(content: bytes, written: str, limits: Limits) -> Rows:
    from pyarrow import BufferReader, ipc

    def table() -> Any:
        return ipc.open_file(BufferReader(content)).read_all()

    return _arrow_rows(table, written, "Arrow", limits)


def _arrow_stream(content: bytes, written: str, limits: Limits) -> Rows:
    """What `save_to_disk` of Hugging Face's datasets writes."""
    from pyarrow import BufferReader, ipc

    def table() -> Any:
        return ipc.open_stream(BufferReader(content)).read_all()

    return _arrow_rows(table, written, "Arrow", limits)


def _arrow_rows(read: Callable[[], Any], written: str, name: str, limits: Limits) -> Rows:
    import pyarrow

    try:
        table = read()
        limits.check("pairs", table.num_rows, "too-many", f"{written} has {{}} rows")
        found = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Mistake(
            "bad-file", f"{written} is damaged {name}: {_reason(error)}", "write it anew"
        ) from None
    rows = Rows(name, "row")
    for number, row in enumerate(found, 1):
        rows.add(number, row)
    return rows


_MAGIC = {b"PAR1": _parquet, b"ARROW1": _arrow_file, b"\xff\xff\xff\xff": _arrow_stream}
"""Containers that begin with bytes of their own."""
