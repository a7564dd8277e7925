"""Several sources of one base: `from x`, alone and in one run, against raw PyTorch hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.check.pairs import Pair
from tests.engine.test_answers_in_families import EVERY
from tests.families import oracle
from tests.families.bench import BACKENDS, CLOSE, Bench, Ran, by_name
from tests.families.oracle import Edits, Place

ROWS: list[dict[str, Any]] = [
    {
        "base": "Then, Mary and John went to the store. John gave a ring to",
        "sources": {
            "order": "Then, John and Mary went to the store. John gave a ring to",
            "names": "Then, Anna and Tom had fun at the garden. Tom gave a ring to",
        },
        "answer": " Mary",
        "foil": " John",
        "positions": {"WHO": {"base": "Mary", "order": "Mary", "names": "Anna"}},
    },
    {
        "base": "One day Luke met Mark in the park. Luke said to",
        "sources": {
            "order": "One day Mark met Luke. Luke said to",
            "names": "Kate met Paul in the park. Kate said to",
        },
        "answer": " Mark",
        "foil": " Luke",
        "positions": {"WHO": {"base": "Mark", "order": "Mark", "names": "Paul"}},
    },
    {
        "base": "Mary gave Kate a",
        "sources": {"order": "Kate gave Mary a", "names": "Anna gave Paul a"},
        "answer": " ring",
        "foil": " day",
        "positions": {"WHO": {"base": "Kate", "order": "Kate", "names": "Paul"}},
    },
]
PROGRAM = """
subspace v = random(resid_post[1] @ END, seed: 1)
run other = base with patch resid_post[0] @ WHO from names
measure m on p {
  plain = patch resid_post[1] @ WHO
  order = patch resid_post[1] @ WHO from order
  names = patch resid_post[1] @ WHO from names
  both = patch resid_post[0] @ WHO from order
       + patch {head[2.1].z @ END, mlp_out[3] @ END} from names
  along = patch resid_post[1] @ END from names along v
  elsewhere = patch resid_post[1] @ END from names at resid_post[0] @ WHO
  in_order = patch resid_post[1] @ END from order then patch resid_post[1] @ END from names along v
  in_a_run = patch resid_post[2] @ END from other
  average = patch resid_post[1] @ END from mean(p.names)
  report logit_diff
}
"""


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    of = by_name(tmp_path_factory, 'model lm = "NAME"\npairs p = jsonl("named.jsonl")\n')

    def made(name: str) -> Bench:
        one = of(name)
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
        (one.folder.parent / "named.jsonl").write_text(text)
        return one

    return made


class Case:
    """One row: its prompts by their sides, each with its tokens and where WHO stands."""

    def __init__(self, one: Bench, row: Mapping[str, Any]):
        from transformers import AutoTokenizer

        encode = AutoTokenizer.from_pretrained(one.folder)
        self.model = one.model
        texts = {"base": row["base"], **row["sources"]}
        self.ids = {side: list(encode(text)["input_ids"]) for side, text in texts.items()}
        words = row["positions"]["WHO"]
        self.who = {
            side: len(encode(text[: text.index(words[side]) + len(words[side])])["input_ids"]) - 1
            for side, text in texts.items()
        }
        self.answers = [
            encode.encode(row[name], add_special_tokens=False)[0] for name in ("answer", "foil")
        ]

    def at(self, where: str, side: str) -> int:
        return self.who[side] if where == "WHO" else len(self.ids[side]) - 1

    def seen(self, place: Place, where: str, side: str, edits: Edits = ()) -> Tensor:
        (found,) = oracle.read(self.model, torch.tensor([self.ids[side]]), [place], edits)
        return found[:, [self.at(where, side)]]

    def put(self, place: Place, where: str, value: Tensor, basis: Tensor | None = None) -> Any:
        return place, oracle.put(torch.tensor([[self.at(where, "base")]]), value, basis)

    def take(self, place: Place, where: str, side: str, basis: Tensor | None = None) -> Any:
        return self.put(place, where, self.seen(place, where, side), basis)

    def logit_diff(self, edits: Edits = ()) -> float:
        with torch.no_grad():
            x = oracle.logits(self.model, torch.tensor([self.ids["base"]]), edits)[0]
        return float(x[self.answers[0]] - x[self.answers[1]])


def wanted(cases: list[Case], v: Tensor) -> dict[str, list[float]]:
    def resid(layer: int) -> Place:
        return "resid_post", layer, None

    z, mlp = ("head.z", 2, 1), ("mlp_out", 3, None)
    average = torch.stack([c.seen(resid(1), "END", "names") for c in cases]).mean(0)
    found: dict[str, list[float]] = {}
    for c in cases:
        other = [c.take(resid(0), "WHO", "names")]
        order = c.take(resid(1), "WHO", "order")
        arms: dict[str, Edits] = {
            "clean": [],
            "plain": [order],
            "order": [order],
            "names": [c.take(resid(1), "WHO", "names")],
            "both": [
                c.take(resid(0), "WHO", "order"),
                *(c.take(place, "END", "names") for place in (z, mlp)),
            ],
            "along": [c.take(resid(1), "END", "names", v)],
            "elsewhere": [c.put(resid(1), "END", c.seen(resid(0), "WHO", "names"))],
            "in_order": [
                c.take(resid(1), "END", "order"),
                c.take(resid(1), "END", "names", v),
            ],
            "in_a_run": [c.put(resid(2), "END", c.seen(resid(2), "END", "base", other))],
            "average": [c.put(resid(1), "END", average)],
        }
        for arm, edits in arms.items():
            found.setdefault(arm, []).append(c.logit_diff(edits))
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_numbers_are_the_oracles(name: str, benches: Callable[[str], Bench]) -> None:
    one = benches(name)
    cases = [Case(one, row) for row in ROWS]
    for backend in BACKENDS:
        ran: Ran = one.run(PROGRAM, backend)
        right = wanted(cases, ran.basis("v"))
        assert right.keys() == ran.results.measures["m"].keys()
        for arm, values in right.items():
            found = ran.arm("m", arm)[0]["logit_diff"].tolist()
            assert found == pytest.approx(values, abs=CLOSE), (backend, arm)
    different = [right[arm] for arm in right if arm != "plain"]
    assert min(abs(a[0] - b[0]) for a in different for b in different if a is not b) > 1e-6


def test_a_source_under_two_names_is_run_once(benches: Callable[[str], Bench]) -> None:
    """The first named source is `source`: its clean run is the same one."""
    text = "measure m on p {\n  a = patch resid_post[1] @ END then patch resid_post[2] @ END from "
    one, graphs = benches("gpt2"), []
    for name in ("order", "names"):
        ran = one.run(f"{text}{name}\n  report logit_diff\n}}", "cone")
        operations = map(ran.session.graph.operation, ran.session.graph.order())
        graphs.append([op.side for op in operations if op.word.word == "clean_run"])
    assert sorted(graphs[0]) == ["base", "source"]
    assert sorted(graphs[1]) == ["base", "names", "source"]


MODEL = 'model lm = "NAME"\n'
TEMPLATES = """
lexicon name = words(["Mary", "John", "Tom", "Anna", "Kate", "Paul", "Mark", "Luke"])
prompts visits {
  test "Then, {X} and {Y} went to the park. {Z} gave a ring to"
  slots X Y Z: name
  answer A  foil B
  position IO = A.1, S2 = Z
}
pairs flip = visits ABB <- {order: BAB, names: CDC} { test 6 }
"""
MEASURE = "measure m on flip.test { a = patch resid_post[1] @ S2 from names  report logit_diff }"


def test_templates_and_what_is_saved(
    benches: Callable[[str], Bench], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A base and a source by every pattern, of the same words; they read back as they were."""
    one = benches("gpt2")
    folder = one.folder.parent
    program = folder / "named.cpatch"
    model = MODEL.replace("NAME", one.folder.name)
    program.write_text(model + TEMPLATES + MEASURE)
    out = tmp_path_factory.mktemp("out") / "run"
    ran = api.run(program, out=out, dtype="float64")
    pairs = ran.program.families["flip"].test
    assert pairs is not None
    assert pairs.sources == {"order": "source", "names": "names"}

    def letters(text: str) -> tuple[str, ...]:
        words = text.replace(",", "").split()
        return words[1], words[3], words[8]

    for pair in pairs.pairs:
        x, y, z = letters(pair.base.text)
        assert y == z != x
        assert letters(pair.source.text) == (y, x, y)
        assert pair.prompt("order").ids == pair.source.ids
        new, other, last = letters(pair.prompt("names").text)
        assert new == last != other
        assert {new, other}.isdisjoint({x, y})
        assert "IO" not in pair.prompt("names").named  # there is no A
    (folder / "saved.jsonl").write_text((out / "pairs" / "flip.test.jsonl").read_text())
    measure = MEASURE.replace("flip.test", "saved")
    program.write_text(f'{model}pairs saved = jsonl("saved.jsonl")\n{measure}')
    again = api.run(program, dtype="float64")
    whole = again.program.families["saved"].whole
    assert whole is not None
    assert whole.digest == pairs.digest
    assert again.results.measures == ran.results.measures


def test_pairs_that_share_a_named_source_are_one_unit() -> None:
    from causaldsl.check.pairs import PairSet, Prompt

    def prompt(text: str) -> Prompt:
        return Prompt(text, (1, 2))

    shared = [(prompt(f"base {i}"), prompt(f"one {i}"), prompt("same")) for i in range(3)]
    pairs = [Pair(b, s, 1, 2, 2, others=(("x", s), ("y", y))) for b, s, y in shared]
    assert PairSet("p", tuple(pairs)).units.count == 1
    without = [Pair(b, s, 1, 2, 2) for b, s, _ in shared]
    assert PairSet("p", tuple(without)).units.count == 3
