"""Files of pairs in the forms of the field: what is kept, and what is said of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from causaldsl.check.limits import Limits
from causaldsl.check.pairs import NO_TOKEN, Pair
from causaldsl.check.readers.containers import read_rows
from causaldsl.check.readers.read import Read, read_data
from causaldsl.diagnostics import Mistake
from causaldsl.model.catalog import catalog, resolve
from causaldsl.model.tokens import Tokens
from causaldsl.vocabulary.makers import DataFile
from tests.tiny import tiny_tokenizer

TOKENS = Tokens(tiny_tokenizer(bos=True))
ROWS = [
    {"clean": f"The {a} gave {x}", "corrupted": f"The {b} gave {x}", "answer": c, "foil": d}
    for a, b, c, d in (("man", "boy", "ring", "book"), ("girl", "man", "apple", "snack"))
    for x in ("Mary", "John", "Tom")
]


def read(path: Path, **options: Any) -> Read:
    word = DataFile(**options)
    return read_data(word, read_rows(path, path.name, Limits()), path.name, TOKENS, Limits())


def pairs(found: Read) -> tuple[Pair, ...]:
    whole = found.family.whole
    assert whole is not None
    return whole.pairs


def texts(found: Read) -> list[tuple[str, str, str, str]]:
    return [
        (p.base.text, p.source.text, TOKENS.piece(p.answer), TOKENS.piece(p.foil))
        for p in pairs(found)
    ]


def lines(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


WANTED = [(r["clean"], r["corrupted"], " " + r["answer"], " " + r["foil"]) for r in ROWS]


def test_containers_are_told_by_content(tmp_path: Path) -> None:
    names = list(ROWS[0])
    for name, text in {
        "a.csv": json.dumps(ROWS),
        "b.txt": "\n".join(json.dumps(row) for row in ROWS),
        "c.json": "\n".join([",".join(names), *(",".join(row.values()) for row in ROWS)]),
        "d": "\r\n".join(["\t".join(names), *("\t".join(row.values()) for row in ROWS)]),
        "e": "\ufeff" + json.dumps({"name": "mine", "examples": ROWS}),
        "f": json.dumps({str(n): row for n, row in enumerate(ROWS)}),
        "g": ",".join(["", *names])
        + "".join(f"\n{n}," + ",".join(f'"{v}"' for v in r.values()) for n, r in enumerate(ROWS)),
        "h": "[" + ",\n".join(json.dumps(row) for row in ROWS) + "\n",  # cut off
    }.items():
        (tmp_path / name).write_text(text)
        assert texts(read(tmp_path / name)) == WANTED, name
    table = pa.Table.from_pylist(ROWS)
    parquet.write_table(table, tmp_path / "i.csv")
    for name, writer in (("j", pa.ipc.new_file), ("k", pa.ipc.new_stream)):
        with writer(tmp_path / name, table.schema) as sink:
            sink.write_table(table)
    for name in ("i.csv", "j", "k"):
        assert texts(read(tmp_path / name)) == WANTED, name


def test_one_line_says_what_was_done(tmp_path: Path) -> None:
    rows = [row | {"note": "x"} for row in ROWS]
    odd = rows[0] | {"answer": "Bartholomew"}
    found = read(lines(tmp_path / "p", [*rows, rows[0], odd, rows[1] | {"foil": "ring"}]))
    assert found.said == (
        "p: JSON lines; base is `clean`, source is `corrupted`; a space is put before every "
        "answer; 7 of 9 lines kept; 1 has an answer of several tokens: Bartholomew; 1 can't be "
        "used (answer and foil are the same token): line 9; 6 of 7 differ; not used: note"
    )


def test_every_second_line_damaged_costs_those_lines(tmp_path: Path) -> None:
    many = [r | {"clean": f"{r['clean']} {n}"} for n in ("one", "two", "three") for r in ROWS]
    whole = [json.dumps(row) for row in many]
    table = [",".join(many[0])] + [",".join(f'"{v}"' for v in row.values()) for row in many]
    for intact in (whole, table):
        for damage in (
            lambda line: line[: len(line) // 2],
            lambda line: line.replace('"', ""),
            lambda line: line[1:],
            lambda line: line.replace("The", "\udcff\udcfe"),
        ):
            first = len(intact) - len(many)
            damaged = [
                damage(line) if n >= first and (n - first) % 2 else line
                for n, line in enumerate(intact)
            ]
            path = tmp_path / "p"
            path.write_text("\n".join(damaged), errors="surrogateescape")
            bad = [n + 1 for n, line in enumerate(damaged) if line != intact[n]]
            found = read_rows(path, "p", Limits())
            kept = [int(where.split()[1]) for where, _ in found.rows]
            assert [n for n in kept if n not in bad] == [
                n for n in range(first + 1, len(intact) + 1) if n not in bad
            ]
            lost = {int(where.split()[1]) for where, _ in found.damaged}
            # A line without quotes may still be a whole row.
            assert lost | set(kept) >= set(bad)
            assert lost <= set(bad)


def test_a_quoted_field_may_have_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(
        'base,answer,foil\n"The man\n\ngave",ring,book\nThe boy,ring,book\n'
    )
    assert [p.base.text for p in pairs(read(tmp_path / "p"))] == ["The man\n\ngave", "The boy"]


def test_two_readings_are_asked(tmp_path: Path) -> None:
    rows = [row | {"corrupted_hard": "The cat gave"} for row in ROWS]
    with pytest.raises(Mistake, match="`corrupted` and `corrupted_hard`") as asked:
        read(lines(tmp_path / "p", rows))
    assert asked.value.help == 'say which: dataset("p", source: "corrupted")'
    found = read(tmp_path / "p", source="corrupted_hard")
    assert {p.source.text for p in pairs(found)} == {"The cat gave"}


def test_ids_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    rows = [{"clean": "The man", "corrupted": "The boy", "correct_idx": 3, "incorrect_idx": 4}]
    with pytest.raises(Mistake, match="`correct_idx`"):
        read(lines(tmp_path / "p", rows))


@pytest.mark.parametrize(
    ("change", "spaced"),
    [
        ({}, True),
        ({"answer": " apple"}, False),
        ({"clean": "The man said (", "answer": "ring"}, False),
        ({"corrupted": "The boy gave "}, False),
    ],
)
def test_the_leading_space(tmp_path: Path, change: dict[str, str], spaced: bool) -> None:
    found = read(lines(tmp_path / "p", [ROWS[0] | change, *ROWS[1:3]]))
    assert ("a space is put" in found.said) == spaced
    assert all(t[3].startswith(" ") == spaced for t in texts(found)[1:])


def test_no_space_between_digits(tmp_path: Path) -> None:
    rows = [{"base": "The day 1", "source": "The night 1", "answer": "2", "foil": "3"}]
    assert texts(read(lines(tmp_path / "p", rows)))[0][2:] == ("2", "3")


def test_repeats_are_dropped_and_limits_drawn(tmp_path: Path) -> None:
    path = lines(tmp_path / "p", ROWS * 3)
    assert len(pairs(read(path))) == len(ROWS)
    few = [texts(read(path, limit=3, seed=seed)) for seed in (0, 0, 1, 2)]
    assert len(few[0]) == 3
    assert few[0] == few[1]
    assert len({str(one) for one in few}) > 1
    assert set(few[0]) < set(WANTED)


def test_splits_of_training_and_test(tmp_path: Path) -> None:
    names = ["train", "test", "validation"]
    path = lines(tmp_path / "p", [r | {"split": names[n % 3]} for n, r in enumerate(ROWS)])
    found = read(path)
    assert [len(part) for part in found.family.parts.values()] == [2, 2]
    assert "2 of `validation` left out" in found.said
    assert len(pairs(read(path, split="validation"))) == 2


def test_classes_of_sources_are_those_they_have_as_bases(tmp_path: Path) -> None:
    there = {"base": "The man", "source": "The boy", "answer": "ring", "foil": "book", "case": "A"}
    back = there | {"base": "The boy", "source": "The man", "case": "B"}
    found = pairs(read(lines(tmp_path / "p", [there, back])))
    assert [(p.base.cls, p.source.cls) for p in found] == [("A", "B"), ("B", "A")]
    alone = read(lines(tmp_path / "p", [there]))
    assert pairs(alone)[0].base.cls == ""
    assert "classes left out" in alone.said


def test_a_label_is_a_class_or_an_answer(tmp_path: Path) -> None:
    rows = [{"base": f"The man {n}", "label": n, "foil": "book"} for n in range(11)]
    rows = [row | {"source": "The boy"} for row in rows]
    answers = [t[2].strip() for t in texts(read(lines(tmp_path / "p", rows)))]
    assert answers == [str(n) for n in range(10)]  # 10 is two tokens
    with pytest.raises(Mistake, match="no column that is known to be the answer"):
        read(lines(tmp_path / "p", rows[:10]))


def relation(tmp_path: Path, **more: Any) -> Path:
    samples = [("Mary", "ring"), ("John", "book"), ("Tom", "apple"), ("Bartholomew", "bone")]
    (tmp_path / "p").write_text(
        json.dumps(
            {
                "prompt_templates": ["The friend of {} said"],
                "samples": [{"subject": s, "object": o} for s, o in samples],
            }
            | more
        )
    )
    return tmp_path / "p"


def test_templates_and_samples(tmp_path: Path) -> None:
    found = read(relation(tmp_path))
    assert "1 has no other row of as many tokens and another answer: item 4" in found.said
    answers = {f"The friend of {s} said": f" {o}" for s, o in
               (("Mary", "ring"), ("John", "book"), ("Tom", "apple"))}  # fmt: skip
    assert {t[0] for t in texts(found)} == set(answers)
    for base, source, answer, foil in texts(found):
        assert base != source
        assert (answer, foil) == (answers[base], answers[source])
    for pair in pairs(found):
        assert pair.base.named["SUBJECT"] == 4
        assert pair.base.ids[4] == TOKENS.single(" " + pair.base.text.split()[3])


@pytest.mark.parametrize("shots", [0, 2])
def test_inputs_and_outputs_need_a_template(tmp_path: Path, shots: int) -> None:
    rows = [{"input": i, "output": o} for i, o in
            (("one", "two"), ("three", "four"), ("five", "six"), ("seven", "eight"))]  # fmt: skip
    path = lines(tmp_path / "p", rows)
    with pytest.raises(Mistake, match="inputs and outputs"):
        read(path)
    found = texts(read(path, template="In: {input} is:", shots=shots))
    assert len(found) == len(rows) - shots
    outputs = {row["input"]: " " + row["output"] for row in rows}
    for base, source, answer, foil in found:
        assert base.count("In:") == shots + 1
        assert base.rpartition("\n\n")[0] == source.rpartition("\n\n")[0]
        asked = [t.rpartition("In: ")[2].removesuffix(" is:") for t in (base, source)]
        assert [answer, foil] == [outputs[one] for one in asked]
        assert all(f"In: {one} is:" not in base.rpartition("\n\n")[0] for one in asked)


def test_edits_have_no_source(tmp_path: Path) -> None:
    rewrite = {
        "prompt": "The friend of {} is",
        "subject": "Mary",
        "target_true": {"str": "John"},
        "target_new": {"str": "Tom"},
    }
    plain = {k: v["str"] if isinstance(v, dict) else v for k, v in rewrite.items()}
    for row in ({"case_id": 1, "requested_rewrite": rewrite}, rewrite, plain):
        found = read(lines(tmp_path / "p", [row]))
        assert texts(found)[0][::2] == ("The friend of Mary is", " John")
        assert texts(found)[0][3] == " Tom"
        assert found.family.whole is not None
        assert not found.family.whole.paired
        assert pairs(found)[0].base.named["SUBJECT"] == 4


def test_minimal_pairs_of_prefixes(tmp_path: Path) -> None:
    one = {
        "sentence_good": "The man was good",
        "one_prefix_method": True,
        "one_prefix_prefix": "The man",
        "one_prefix_word_good": "was",
        "one_prefix_word_bad": "were",
    }
    found = read(lines(tmp_path / "p", [one]))
    assert texts(found)[0][::2] == ("The man", " was")
    two = {
        "two_prefix_prefix_good": "The man",
        "two_prefix_prefix_bad": "The boy",
        "two_prefix_word": "was",
    }
    with pytest.raises(Mistake, match="two experiments"):
        read(lines(tmp_path / "p", [one | two]))
    found = read(lines(tmp_path / "p", [two]))
    (pair,) = pairs(found)
    assert (pair.base.text, pair.source.text, pair.foil) == ("The man", "The boy", NO_TOKEN)
    assert [[TOKENS.piece(t) for t in members] for members in pair.members] == [[" was"], []]
    assert "it has no foils" in found.said


def test_lists_are_sets_of_answers(tmp_path: Path) -> None:
    rows = [
        r | {"answer": [r["answer"], "kiss", r["answer"]], "foil": [r["foil"], "bone"]}
        for r in ROWS
    ]
    found = pairs(read(lines(tmp_path / "p", rows)))
    for pair, row in zip(found, ROWS, strict=True):
        shown = [[TOKENS.piece(token) for token in members] for members in pair.members]
        assert shown == [[" " + row["answer"], " kiss"], [" " + row["foil"], " bone"]]
        assert (pair.answer, pair.foil) == tuple(members[0] for members in pair.sets)
    one = rows[0] | {"foil": ["kiss", "book"]}
    with pytest.raises(Mistake) as refused:
        read(lines(tmp_path / "p", [one]))
    assert "same token" in (refused.value.help or "")
    left_out = read(
        lines(tmp_path / "p", [rows[0], {k: rows[1][k] for k in rows[1] if k != "foil"}])
    )
    assert "1 has no foil: line 2" in left_out.said


def test_prompts_with_lists_of_answers_and_indices(tmp_path: Path) -> None:
    prompts = [
        {"clean": r["clean"], "corrupt": r["corrupted"], "answers": [r["answer"]],
         "wrong_answers": [r["foil"]]} for r in ROWS
    ]  # fmt: skip
    path = tmp_path / "p"
    path.write_text(json.dumps({"prompts": prompts, "word_idxs": {"subj": 1}, "seq_len": 4}))
    found = read(path)
    assert texts(found) == WANTED
    assert [p.base.named["SUBJ"] for p in pairs(found)] == [2] * len(ROWS)  # behind BOS
    assert "in the first prompt SUBJ is ` man`" in found.said
    path.write_text(json.dumps({"prompts": prompts, "word_idxs": {"subj": 1}, "seq_len": 5}))
    with pytest.raises(Mistake) as refused:
        read(path)
    assert "not the 5 tokens" in (refused.value.help or "")


def test_prompts_with_counterfactuals(tmp_path: Path) -> None:
    def side(name: str, other: str) -> dict[str, Any]:
        return {"prompt": f"The friend {name} said", "choices": [name, other], "answerKey": 0}

    row = side("Mary", "John") | {"abc_counterfactual": side("Tom", "Dan")}
    assert texts(read(lines(tmp_path / "p", [row]))) == [
        ("The friend Mary said", "The friend Tom said", " Mary", " Tom")
    ]
    with pytest.raises(Mistake, match="each could be the source"):
        read(lines(tmp_path / "p", [row | {"flip_counterfactual": side("John", "Mary")}]))
    chosen = read(tmp_path / "p", source="flip_counterfactual")
    assert texts(chosen)[0][1:] == ("The friend John said", " Mary", " John")

    sums = {"prompt": "one and two is", "label": "three", "random_counterfactual":
            {"prompt": "one and one is", "label": "two"}}  # fmt: skip
    parquet.write_table(pa.Table.from_pylist([sums]), tmp_path / "p")
    assert texts(read(tmp_path / "p"))[0][1:] == ("one and one is", " three", " two")

    mcqa = {"prompt": "The ring is red. A: red B: blue is:", "choices": {"label": ["A", "B"]},
            "answerKey": 0, "symbol_counterfactual":
            {"prompt": "The ring is red. C: blue D: red is:", "choices": {"label": ["C", "D"]},
             "answerKey": 1}}  # fmt: skip
    found = read_rows(lines(tmp_path / "p", [mcqa]), "p", Limits())
    assert found.rows[0][1]["answerkey"] == 0

    causal = {
        "input": {"raw_input": "one and two is", "raw_output": "three"},
        "counterfactual_inputs": [{"raw_input": "one and one is", "raw_output": "two"}],
    }
    assert texts(read(lines(tmp_path / "p", [causal])))[0][1:] == (
        "one and one is",
        " three",
        " two",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"The man\nThe boy\n", "does not begin with a row of different column names"),
        (b"\x89PNG\0\1\2", "is not text"),
        (b"PAR1 and no more", "is damaged Parquet"),
        (b'{"base": ', "is not JSON"),
        (b'{"a": 1, "b": 2,\n "c": 3}', "without a list of rows"),
        (b"shape,colour\nround,red\n", "none is known to be the base"),
        (b"base,source\nThe man,The boy\n", "no column that is known to be the answer"),
    ],
)
def test_what_is_no_file_of_pairs_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(Mistake, match=said):
        read(tmp_path / "p")


REAL = Path(__file__).parents[3] / "shared" / "data"
SMOLLM2 = next(entry for entry in catalog() if entry.name == "smollm2-135m")
TEMPLATE: dict[str, Any] = {"template": "Q: {input}\nA:", "shots": 4}


@pytest.mark.skipif(not REAL.is_dir(), reason="the files of ../shared/data are not here")
@pytest.mark.skipif(not SMOLLM2.present, reason="smollm2-135m has not been fetched here")
@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("nounpp_test.json", {}, "480 of 480 lines kept; 469 of 480 differ"),
        ("simple_test.json", {}, "85 of 120 differ; 85 used, 20 different pairs of prompts"),
        ("ioi_llama.csv", {}, "`corrupted` and `corrupted_hard`"),
        ("ioi_llama.csv", {"source": "corrupted"}, "token ids, in `correct_idx`"),
        ("greater_than_data.csv", {}, "912 have an answer of several tokens"),
        ("present-past.json", {}, "inputs and outputs, and no prompts"),
        ("present-past.json", TEMPLATE, "283 of 289 items kept"),
        ("verb_past_tense.json", {}, "75 of 76 items kept"),
    ],
)
def test_real_files(name: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    tokens = Tokens.load(resolve("smollm2-135m", tmp_path, fetch=False).path)
    rows = read_rows(REAL / name, name, Limits())
    assert rows.damaged == []
    try:
        found = read_data(DataFile(**options), rows, name, tokens, Limits()).said
    except Mistake as mistake:
        found = f"{mistake.message} {mistake.help}"
    assert said in found


def test_a_parquet_file_is_counted_before_it_is_read(tmp_path: Path) -> None:
    table = pa.table({"base": ["The man"] * 100_000})
    parquet.write_table(table, tmp_path / "p", compression="zstd")
    with pytest.raises(Mistake, match="has 100000 rows"):
        read(tmp_path / "p")
