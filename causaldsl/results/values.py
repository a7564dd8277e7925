"""The numbers of a run by pair, in long form: what values.parquet holds.

One row is one number of one pair. ``measure`` is the statement's name (of a learned subspace: its
own), ``arm`` the arm without its cell, then comes a column for each loop variable of the program
(null where an arm is in no such loop), ``metric``, ``pairs`` and ``pair`` (the line, from 0, of
``pairs/NAME.jsonl``), the ``unit`` of evidence that the pair belongs to, its ``template``, its
base's ``pattern`` or class, its ``split``, and the ``value``. A loop variable that is called like
another column gets a line behind its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from causaldsl.check.pairs import Pair, PairSet
from causaldsl.diagnostics import Mistake

if TYPE_CHECKING:
    from pyarrow import Table

FILE = "values.parquet"
COLUMNS = (
    *("measure", "arm", "metric", "pairs", "pair", "unit"),
    *("template", "pattern", "split", "value"),
)
"""Those of every run; its loop variables stand behind `arm`."""


@dataclass(frozen=True, eq=False)
class Block:
    """One metric of one arm: ``values`` (n,) of the pairs in ``rows``, by default of each in turn.

    ``cell`` has the values of the arm's loop variables, by their names.
    """

    measure: str
    arm: str
    metric: str
    pairs: PairSet
    values: np.ndarray
    cell: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[int] | None = None

    @property
    def indices(self) -> np.ndarray:
        """Which pair each value is of."""
        return np.arange(len(self.values)) if self.rows is None else np.asarray(self.rows, int)


def values_table(blocks: Iterable[Block]) -> Table:
    """The table of all blocks, one after the other; texts are kept once, as dictionaries."""
    import pyarrow as pa

    found = list(blocks)
    columns = {
        "measure": _said(found, [block.measure for block in found]),
        "arm": _said(found, [block.arm for block in found]),
        **{
            _free(variable): _said(found, [block.cell.get(variable) for block in found])
            for variable in dict.fromkeys(name for block in found for name in block.cell)
        },
        "metric": _said(found, [block.metric for block in found]),
        "pairs": _said(found, [block.pairs.name for block in found]),
        "pair": _numbers(pa.int32(), _joined([block.indices for block in found], np.int32)),
        "unit": _numbers(pa.int32(), _joined([_units(block) for block in found], np.int32)),
        "template": _said_of_pairs(found, lambda pair: pair.template or None),
        "pattern": _said_of_pairs(found, lambda pair: pair.base.cls or None),
        "split": _said(found, [block.pairs.split or None for block in found]),
        "value": _numbers(pa.float64(), _joined([block.values for block in found], np.float64)),
    }
    return pa.Table.from_arrays(list(columns.values()), list(columns))


def write_values(path: Path, blocks: Iterable[Block]) -> None:
    """Write the table of all blocks as a Parquet file, whose readers see plain texts."""
    from pyarrow import parquet

    parquet.write_table(values_table(blocks), path, compression="zstd", store_schema=False)


def read_values(run: Path) -> Table:
    """The table of a run, by its folder or the file itself. Raises :class:`Mistake`."""
    path = run / FILE if run.is_dir() else run
    if not path.is_file():
        help = f"give the folder of a run; one without {FILE} can be run again"
        raise Mistake("missing-file", f"there is no {path}", help)
    from pyarrow import ArrowInvalid, parquet

    try:
        return parquet.read_table(path)
    except ArrowInvalid as error:
        raise Mistake("unreadable-file", f"{path} is not a Parquet file: {error}") from None


def _units(block: Block) -> np.ndarray:
    return np.asarray(block.pairs.units.of_pair, np.int32)[block.indices]


def _free(variable: str) -> str:
    return f"{variable}_" if variable in COLUMNS else variable


def _joined(parts: list[Any], dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype) for part in parts] or [np.zeros(0, dtype)])


def _said(blocks: list[Block], said: list[str | None] | list[str]) -> Any:
    """A column with one text for all rows of a block; null where there is none."""
    texts: dict[str, int] = {}
    sizes = (len(block.values) for block in blocks)
    parts = [np.full(n, _code(texts, text)) for n, text in zip(sizes, said, strict=True)]
    return _column(texts, parts)


def _said_of_pairs(blocks: list[Block], of: Callable[[Pair], str | None]) -> Any:
    """A column with one text for each pair; null where there is none."""
    texts: dict[str, int] = {}
    sets = {id(block.pairs): block.pairs for block in blocks}
    codes = {key: np.array([_code(texts, of(p)) for p in s.pairs]) for key, s in sets.items()}
    return _column(texts, [codes[id(block.pairs)][block.indices] for block in blocks])


def _code(texts: dict[str, int], text: str | None) -> int:
    """The number of a text, -1 for none."""
    return -1 if text is None else texts.setdefault(text, len(texts))


def _column(texts: dict[str, int], codes: list[np.ndarray]) -> Any:
    import pyarrow as pa

    joined = _joined(codes, np.int32)
    said = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, said)], dtype=np.int32)
    buffers = (pa.py_buffer(ends), pa.py_buffer(b"".join(said)))
    dictionary = pa.StringArray.from_buffers(len(said), *buffers)
    return pa.DictionaryArray.from_arrays(_numbers(pa.int32(), joined, joined >= 0), dictionary)


def _numbers(kind: Any, values: np.ndarray, known: np.ndarray | None = None) -> Any:
    """An array of numbers, null where they are not ``known``.

    Made from buffers: pyarrow.array looks for pandas, which takes half a second to import.
    """
    import pyarrow as pa

    mask = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(values)])


@dataclass(frozen=True, eq=False)
class Columns:
    """What is kept of one arm: ``values`` (n,) by metric, and each pair's unit and template."""

    values: dict[str, np.ndarray]
    units: np.ndarray
    templates: list[str | None]


def column_of(table: Table, measure: str, arm: str, cell: Mapping[str, str]) -> Columns:
    """The values of an arm of a measure, or of one cell of a sweep."""
    from pyarrow import compute

    wanted = {"measure": measure, "arm": arm} | {_free(name): v for name, v in cell.items()}
    chosen = compute.scalar(True)
    for name, value in wanted.items():
        chosen = chosen & (compute.field(name) == value)
    found = table.filter(chosen)
    metrics = found["metric"].unique().to_pylist()
    parts = {metric: found.filter(compute.field("metric") == metric) for metric in metrics}
    if not parts:
        raise Mistake("missing-values", f"{FILE} has no values of {measure}.{arm}")
    first = next(iter(parts.values()))
    values = {metric: part["value"].to_numpy() for metric, part in parts.items()}
    return Columns(values, first["unit"].to_numpy(), first["template"].to_pylist())
