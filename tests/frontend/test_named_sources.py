"""Several named sources in the files of others: columns, counterfactuals, lists of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.readers.read import Read
from causaldsl.diagnostics import Mistake
from tests.frontend.test_readers import lines, pairs, read, texts


def named(found: Read) -> dict[str, str]:
    """The first base's sources."""
    return {name: prompt.text for name, prompt in pairs(found)[0].others}


def test_columns(tmp_path: Path) -> None:
    row = {
        "clean": "The man Mary said",
        "corrupted": "The man Tom said",
        "corrupted-2": "A man Dan",
        "answer": " ring",
        "foil": " book",
        "subject": "man",
    }
    found = read(lines(tmp_path / "p", [row]), sources=("corrupted", "corrupted-2"))
    assert named(found) == {"corrupted": "The man Tom said", "corrupted_2": "A man Dan"}
    assert "sources are `corrupted`, `corrupted_2`" in found.said
    (pair,) = pairs(found)
    assert [prompt.named["SUBJECT"] for prompt in pair.prompts] == [2] * 4
    whole = found.family.whole
    assert whole is not None
    assert whole.sources == {"corrupted": "source", "corrupted_2": "corrupted_2"}
    with pytest.raises(Mistake, match="names a column twice"):
        read(tmp_path / "p", sources=("corrupted", "Corrupted"))


def test_an_object_of_sources(tmp_path: Path) -> None:
    """As the JSON lines of `jsonl` have it, with a column `source` beside it or without."""
    row = {
        "base": "The man Mary said",
        "sources": {"order": "The boy Tom said", "names": "Dan said"},
        "answer": " ring",
        "foil": " book",
        "positions": {"WHO": {"base": "Mary", "order": "Tom", "names": "Dan"}},
    }
    found = read(lines(tmp_path / "p", [row]))
    assert named(found) == row["sources"]
    assert "sources are `order`, `names`" in found.said
    assert "not used" not in found.said
    (pair,) = pairs(found)
    assert pair.source.text == "The boy Tom said"
    assert [prompt.named["WHO"] for prompt in pair.prompts] == [3, 3, 3, 1]
    found = read(lines(tmp_path / "p", [row | {"source": "The girl Amy said"}]))
    assert named(found) == row["sources"]
    assert pairs(found)[0].source.text == "The girl Amy said"
    found = read(lines(tmp_path / "p", [row, row | {"sources": "The boy Tom said"}]))
    assert len(pairs(found)) == 1
    assert "1 has no sources by their names" in found.said
    one = row | {"clean": row["base"], "other": "The girl Amy said"}
    found = read(lines(tmp_path / "p", [one]), base="clean", source="other")
    assert named(found) == {}
    assert "not used: base, sources" in found.said
    fewer = row | {"sources": {"order": "The boy Tom said"}}
    with pytest.raises(Mistake, match="named sources are"):
        read(lines(tmp_path / "p", [row, fewer]))


def test_counterfactuals_by_their_columns(tmp_path: Path) -> None:
    def side(name: str, other: str) -> dict[str, Any]:
        return {"prompt": f"The friend {name} said", "choices": [name, other], "answerKey": 0}

    row = side("Mary", "John") | {
        "abc_counterfactual": side("Tom", "Dan"),
        "flip_counterfactual": side("John", "Mary"),
    }
    path = lines(tmp_path / "p", [row])
    with pytest.raises(Mistake, match="each could be the source"):
        read(path)
    found = read(path, sources=("flip_counterfactual", "abc_counterfactual"))
    assert named(found) == {
        "flip_counterfactual": "The friend John said",
        "abc_counterfactual": "The friend Tom said",
    }
    assert texts(found)[0][1:] == ("The friend John said", " Mary", " John")
    assert "`flip_counterfactual`, `abc_counterfactual`" in found.said
    with pytest.raises(Mistake, match="`choices` of p holds no prompts"):
        read(path, sources=("flip_counterfactual", "choices"))


def test_a_list_of_counterfactuals(tmp_path: Path) -> None:
    """One variable in each, as for an interchange from several sources at once."""
    others = [
        {"raw_input": "two and two is", "raw_output": "four"},
        {"raw_input": "one and one is", "raw_output": "two"},
    ]
    row = {
        "input": {"raw_input": "one and two is", "raw_output": "three"},
        "counterfactual_inputs": others,
    }
    found = read(lines(tmp_path / "p", [row]))
    assert named(found) == {"source_1": "two and two is", "source_2": "one and one is"}
    assert texts(found)[0][1:] == ("two and two is", " three", " four")
    assert "source_1 and so on" in found.said
    fewer = {**row, "counterfactual_inputs": others[:1]}
    with pytest.raises(Mistake, match="named sources are source_1, source_2 and others with none"):
        read(lines(tmp_path / "p", [row, fewer]))
