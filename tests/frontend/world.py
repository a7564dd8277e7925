"""A small world for programs under test: a tiny model, word lists and pair files in one folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.tiny import NAMES, OBJECTS, PLACES, tiny_folder
from tests.tiny_dictionaries import write_dictionary

PRELUDE = """model lm = "tiny-llama"
lexicon name = words("names.txt") split half
lexicon place = words("places.txt") split half
prompts ioi {
  train "Then {X} and {Y} went to the {place} and {Z} gave"
  test "When {X} and {Y} went to the {place} {Z} said"
  slots X Y Z: name, place: place
  answer A  foil B
  position IO = A.1, S2 = B.2
}
pairs flip = ioi ABB <-> BAB { train 8  test 6  seed 0 }
"""


def make_world(folder: Path) -> Path:
    """Write the files that the programs of these tests name. Gives the folder."""
    tiny_folder(folder, "llama")
    tiny_folder(folder, "gpt2")
    place = {"model_name": "tiny-llama", "hook_name": "blocks.1.hook_resid_post"}
    write_dictionary(folder / "sae", "topk", **place)
    write_dictionary(folder / "transcoder", "transcoder")
    write_dictionary(folder / "elsewhere", "standard", **{**place, "model_name": "gpt2-small"})
    for name, begun in (("with_bos", True), ("without_bos", False)):
        write_dictionary(folder / name, "topk", **place, prepend_bos=begun)
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "places.txt").write_text("\n".join(PLACES) + "\n")
    (folder / "objects.txt").write_text("\n".join(OBJECTS) + "\n")
    texts = [f"{name} gave the {thing}" for name in NAMES[:6] for thing in OBJECTS[:4]]
    (folder / "texts.txt").write_text("\n\n".join(texts) + "\n")
    (folder / "twice.txt").write_text("The man\nThe boy\nThe man\n")
    (folder / "nothing.txt").write_text("\n")
    (folder / "long.txt").write_text("Mary\nBartholomew\nJohn\nTom\n")
    pairs = [
        ("The man gave Mary the ring", "The man gave John the ring", " book", " snack"),
        ("The boy gave Amy the book", "The boy gave Dan the book", " ring", " apple"),
        ("The girl gave Kate", "The girl Dan Mark gave Paul", " ring", " apple"),
    ]
    for name, chosen in (("even.jsonl", pairs[:2]), ("uneven.jsonl", pairs)):
        lines = [
            json.dumps({"base": b, "source": s, "answer": a, "foil": f}) for b, s, a, f in chosen
        ]
        (folder / name).write_text("\n".join(lines) + "\n")
    for name, texts, answers in (
        ("begun", ("<s>The man gave", "<s>The boy gave"), (" book", " ring")),
        ("some_begun", ("The man gave", "<s>The boy gave"), (" book", " ring")),
        ("ended", ("The man gave<s>", "The boy gave"), (" book", " ring")),
        ("open", ("The man gave ", "The boy gave "), (" book", " ring")),
        ("line", ("The man gave\n", "The boy gave\n"), (" book", " ring")),
        ("new_line", ("The man gave\n", "The boy gave\n"), ("Mary", "John")),
        ("bare", ("The man gave", "The boy gave"), ("Mary", "John")),
        ("quoted", ('The man said "', 'The boy said "'), ("Mary", "John")),
        ("mixed", ("The man gave", "The boy gave"), (" Mary", "John")),
    ):
        pair = {"base": texts[0], "source": texts[1], "answer": answers[0], "foil": answers[1]}
        (folder / f"{name}.jsonl").write_text(json.dumps(pair) + "\n")
    for name, settings in (
        ("doubtful", {"bos_token": "<s>", "add_bos_token": True}),
        ("nameless", {}),
    ):
        (folder / name).mkdir()
        config = json.loads((folder / "tiny-gpt2" / "config.json").read_text())
        config |= {"bos_token_id": None}
        (folder / name / "config.json").write_text(json.dumps(config))
        (folder / name / "tokenizer_config.json").write_text(json.dumps(settings))
        shutil.copy(folder / "tiny-gpt2" / "tokenizer.json", folder / name)
    lines = [
        {"base": base, "source": "The boy", "answer": answer, "foil": " snack"}
        for base, answer in (
            *[("The man", " Bartholomew"), ("The girl", " ring"), ("", " ring"), ("A", 3)],
            *[(f"The man {n}", " snack") for n in range(4)],
        )
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "many_wrong.jsonl").write_text(text)
    lines = [
        {"base": "The man", "source": f"The {who}", "answer": " ring", "foil": " snack"}
        for who in ("boy", "girl")
    ]
    (folder / "one_base.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "all_long.txt").write_text("Bartholomew\nMaximilian\n")
    bad = {"base": "The man", "source": "The boy", "answer": " Bartholomew", "foil": " snack"}
    (folder / "bad_answer.jsonl").write_text(json.dumps(bad) + "\n")
    saved = {"base": "The man", "source": "The boy", "answer": " ring", "foil": " snack"}
    for name, more in (
        ("other_tokens", {"tokens": {"base": [1, 2], "source": [1, 3]}}),
        ("class_number", {"class": {"base": 1, "source": 2}}),
        ("class_one", {"class": "plural"}),
        ("class_base", {"class": {"base": "base", "source": "other"}}),
        ("bad_tokens", {"tokens": [1, 2]}),
    ):
        (folder / f"{name}.jsonl").write_text(json.dumps(saved | more) + "\n")
    back = {**saved, "base": saved["source"], "source": saved["base"]}
    labelled = {"class": {"base": "one man", "source": "one boy"}}
    for name, lines in (
        ("class_some", [saved | labelled, back]),
        ("mirror", [saved, back, saved | {"source": "The girl"}]),
        ("labelled", [saved | labelled, saved | {"source": "The girl"} | labelled]),
    ):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    one = {"base": "The man gave", "source": "The boy gave", "answer": " ring"}
    for name, lines in (
        ("no_foil", [one]),
        ("some_foils", [one, one | {"foil": " book"}]),
        ("odd_list", [one | {"answer": [" ring", 3], "foil": " book"}]),
        ("named_some", [one | {"sources": {"x": "A"}}, one | {"sources": {"y": "A"}}]),
        ("named_long", [one | {"sources": {"x": "The girl gave", "y": "The girl gave the"}}]),
        (
            "named_far",
            [
                one
                | {
                    "sources": {"x": "The girl gave", "y": "Then the girl gave"},
                    "positions": {"WHO": {"base": " man", "x": " girl", "y": " girl"}},
                }
            ],
        ),
        ("named_badly", [one | {"sources": {"base": "A boy gave"}}]),
        ("listed", [one | {"answer": [" ring", " kiss"], "foil": " book"}]),
    ):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    _write_copies(folder)
    _write_data(folder)
    (folder / "prompts.cpatch").write_text(PRELUDE)
    (folder / "allows.cpatch").write_text(
        "allow other-site, unspaced-answer\n" + PRELUDE + "site other_place = resid_post[1] @ END\n"
        "subspace v = random(resid_post[0] @ END, seed: 1)\n"
    )
    (folder / "looks.cpatch").write_text('import "looks.cpatch"\n')
    (folder / "measures.cpatch").write_text(
        PRELUDE + "measure m on flip.test { a = patch resid_post[1] @ END  report fldd }\n"
    )
    return folder


def _write_copies(folder: Path) -> None:
    """Prompts that come again in other pairs, and in other spelling."""
    man, boy, girl, cat, dog = (f"The {who} gave" for who in ("man", "boy", "girl", "cat", "dog"))
    for name, pairs in (
        ("again", [(man, boy), (girl, cat)]),
        ("again_paired", [(man, cat), (girl, boy)]),
        ("again_turned", [(cat, man), (boy, girl)]),
        ("again_source", [(dog, boy)]),
        ("again_split", [(man, boy, "train"), (boy, girl, "test")]),
        ("again_cluster", [(man, boy, "train", "x"), (girl, cat, "test", "x")]),
        ("numbered", [(f"{n}. {one}", f"{n}. {boy}") for n in (1, 2, 3) for one in (man, girl)]),
        ("spaced", [(man, boy, "train"), ("The  man gave", "the boy gave", "test")]),
        ("dates", [(f"From {n} to {n // 100}", f"From {n} to 16") for n in (1732, 1741, 1745)]),
    ):
        lines = [
            {"base": base, "source": source, "answer": " ring", "foil": " book"}
            | dict(zip(("split", "cluster"), more, strict=False))
            for base, source, *more in pairs
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)


def _write_data(folder: Path) -> None:
    """Files that `data` reads, or asks about."""
    header = "clean,corrupted,answer,foil"
    good = ["The man gave,The boy gave,ring,book", "The girl gave,The man gave,apple,snack"]
    wrong = ["The dog gave,The cat gave,Bartholomew,book", "The dog gave,The cat gave,ring"]
    (folder / "cities.csv").write_text("\n".join([header, *good, *wrong]) + "\n")
    (folder / "harder.csv").write_text(f"{header},corrupted_hard\n{good[0]},The cat gave\n")
    (folder / "ids.csv").write_text("clean,corrupted,correct_idx\nThe man,The boy,3\n")
    (folder / "shapes.csv").write_text("shape,colour\nround,red\n")
    (folder / "one_word.csv").write_text("clean,corrupted,answer\nThe man,The boy,ring\n")
    (folder / "all_wrong.csv").write_text("\n".join([header, *wrong]) + "\n")
    friends = ["Mary\tJohn", "Bartholomew\tTom", "Amy\tDan", "Kate\tBartholomew", "Paul\tKate"]
    (folder / "friends.tsv").write_text("\n".join(["name\tfriend", *friends]) + "\n")
    (folder / "holes.tsv").write_text("name\tfriend\nMary\tJohn\nAmy\t\n")
    verbs = [{"input": "one", "output": "two"}, {"input": "three", "output": "four"}]
    (folder / "verbs.json").write_text(json.dumps(verbs))
    edit = {"prompt": "The friend of {} is", "subject": "Mary", "target_true": "John"}
    (folder / "edits.json").write_text(json.dumps([edit | {"target_new": "Tom"}]))


def sections(text: str, kind: str) -> list[str]:
    """The bodies of all fenced blocks of a kind in a Markdown text."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.M | re.S)
