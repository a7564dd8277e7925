"""`dataset`: pairs from a file of whatever form, or from a dataset that was saved to disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.params import locate
from causaldsl.check.readers.containers import Rows, given_rows, read_rows
from causaldsl.check.readers.read import read_data
from causaldsl.diagnostics import Mistake, Span, located
from causaldsl.vocabulary.makers import DataFile, Given


@makes(DataFile)
def dataset(context: Context, word: DataFile, operands: Operands) -> PairFamily:
    written, span = operands["file"]
    with located(span):
        if (locate(written, context.folder) / written).is_dir():
            rows = _saved(context, written)
        else:
            rows = read_rows(context.path(written), written, context.limits)
        return _pairs(context, word, rows, written, span)


@makes(Given)
def given(context: Context, word: Given, operands: Operands) -> PairFamily:
    name, span = operands["name"]
    with located(span):
        if name not in context.program.given:
            known = ", ".join(f"`{other}`" for other in context.program.given)
            raise Mistake(
                "not-given",
                f"no data was given for `{name}`" + (f", only for {known}" if known else ""),
                f'run it from Python: causaldsl.run(program, data={{"{name}": frame}})',
            )
        return _pairs(context, word, given_rows(context.program.given[name], name), name, span)


def _pairs(context: Context, word: DataFile, rows: Rows, written: str, span: Span) -> PairFamily:
    """The pairs of some rows; the line about them is kept."""
    tokens = context.tokens(span).framed(word.frame)
    found = read_data(word, rows, written, tokens, context.limits)
    if found.said not in context.program.readings:
        context.program.readings.append(found.said)
    return found.family.only(word.where)


def _saved(context: Context, written: str) -> Rows:
    """The rows of a folder that `save_to_disk` wrote; several splits are told apart by name."""
    splits = _object(context, f"{written}/dataset_dict.json").get("splits")
    folders: dict[str | None, str] = {None: written}
    if isinstance(splits, list):
        folders = {str(name): f"{written}/{name}" for name in splits}
    found = Rows("a saved dataset", "row")
    for split, folder in folders.items():
        for file in _object(context, f"{folder}/state.json").get("_data_files", []):
            path = f"{folder}/{Path(str(file['filename'])).name}"
            for _, row in read_rows(context.path(path), path, context.limits).rows:
                found.add(len(found.rows) + 1, row if split is None else {"split": split} | row)
    if not found.rows:
        raise Mistake(
            "bad-file",
            f"{written} is a folder, and no dataset that was saved to disk",
            "name a file, or a folder that `save_to_disk` has written",
        )
    return found


def _object(context: Context, written: str) -> dict[str, Any]:
    """A file that describes a dataset; empty if there is none."""
    path = context.path(written)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        context.program.files.pop(path.resolve(), None)
        return {}
    except (OSError, ValueError) as error:
        raise Mistake("bad-file", f"{written} can't be read: {error}", "save it anew") from None
    return found if isinstance(found, dict) else {}
