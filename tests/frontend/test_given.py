"""Tables that Python gives to a program."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from causaldsl import api
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source

ROWS = [
    {"clean": "The man gave", "corrupted": "The boy gave", "answer": "ring", "foil": "book"},
    {"clean": "The girl gave", "corrupted": "The dog gave", "answer": "bone", "foil": "kiss"},
]


class Frame:
    """What a frame of pandas shows of itself here."""

    columns = tuple(ROWS[0])

    def to_dict(self, how: str) -> list[dict[str, Any]]:
        assert how == "records"
        return [row | {"note": float("nan")} for row in ROWS]


def program(world: Path, pairs: str) -> str:
    # A text's paths start at the current folder.
    return f'model lm = "{world / "tiny-llama"}"\npairs mine = {pairs}\n'


@pytest.mark.parametrize("table", [ROWS, pa.Table.from_pylist(ROWS), Frame()], ids=type)
def test_tables_are_read_as_files_are(world: Path, table: Any) -> None:
    for pairs in ("given", 'given("mine")'):
        checked = api.check(program(world, pairs), data={"mine": table})
        whole = checked.families["mine"].whole
        assert whole is not None
        assert [(p.base.text, p.source.text) for p in whole.pairs] == [
            (row["clean"], row["corrupted"]) for row in ROWS
        ]
        assert "mine: a given table; base is `clean`" in checked.readings[0]
    few = api.check(program(world, 'given("mine", limit: 1)'), data={"mine": table})
    assert len(few.families["mine"].whole or ()) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no data was given for `mine`"),
        ({"other": ROWS}, "no data was given for `mine`, only for `other`"),
        ({"mine": "text"}, "is no table, but str"),
        ({"mine": [1, 2]}, "is no table, but list"),
    ],
)
def test_what_is_no_table_is_refused(world: Path, data: dict[str, Any], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        api.check(program(world, "given"), data=data)


def test_datasets_that_were_saved_to_disk(world: Path) -> None:
    folder = world / "saved"
    for split, rows in (("train", ROWS[:1]), ("test", ROWS[1:])):
        part = folder / split
        part.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(part / "data-00000-of-00001.arrow", table.schema) as sink:
            sink.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (part / "state.json").write_text(json.dumps(state))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    found = checked_in(world, 'dataset("saved")').families["mine"].parts
    assert {role: [p.base.text for p in part.pairs] for role, part in found.items()} == {
        "train": ["The man gave"],
        "test": ["The girl gave"],
    }
    whole = checked_in(world, 'dataset("saved/test")').families["mine"].whole
    assert whole is not None
    assert [p.base.text for p in whole.pairs] == ["The girl gave"]


def checked_in(world: Path, pairs: str) -> CheckedProgram:
    text = f'model lm = "tiny-llama"\npairs mine = {pairs}\n'
    return Checker(Source("case.cpatch", text), world / "case.cpatch").check()
