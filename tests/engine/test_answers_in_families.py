"""Answers in every form, chosen sets and pairs, and chat frames, in families unlike Llama.

Each form is worked out once more by raw PyTorch hooks in float64, pair by pair, in whole forward
passes: lists of answers and foils, no foils, several tokens, a program's own metrics, `top`,
`where: correct` and `frame: chat`; alone, and with sets of sites, named runs and stages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.discovery import import_all
from causaldsl.vocabulary.register import BUILT_IN
from tests.families import oracle
from tests.families.bench import BACKENDS, CLOSE, Bench, Ran, by_name
from tests.families.oracle import Edits, Place

MORE = ("llama", "gpt_neox", "gemma2", "gemma3", "gpt_oss", "qwen3")
EVERY = ["gpt2", *(pytest.param(name, marks=pytest.mark.soak) for name in MORE)]
ROWS: list[dict[str, Any]] = [
    {
        "base": "Then, Mary and John went to the store. John gave a ring to",
        "source": "Then, Anna and Tom went to the store. Anna gave a ring to",
        "answer": [" Mary", " Kate"],
        "foil": [" John"],
        "positions": {"WHO": {"base": "Mary", "source": "Tom"}},
    },
    {
        "base": "One day Luke met Mark in the park. Luke said to",
        "source": "One day Kate met Tom. Tom said to",
        "answer": [" Mark"],
        "foil": [" Luke", " Paul", " Tom"],
        "positions": {"WHO": {"base": "Mark", "source": "Kate"}},
    },
    {
        "base": "After the meeting, Sarah had lots of fun at the",
        "source": "After the meeting, Laura walked to the",
        "answer": [" school", " office", " beach"],
        "foil": [" garden", " store"],
        "positions": {"WHO": {"base": "Sarah", "source": "Laura"}},
    },
    {
        "base": "Mary gave Kate a",
        "source": "Anna gave Paul a",
        "answer": [" ring"],
        "foil": [" day"],
        "positions": {"WHO": {"base": "Kate", "source": "Anna"}},
    },
]
BOTH = [*ROWS, *({**row, "answer": row["foil"], "foil": row["answer"]} for row in ROWS)]
"""Of a row and the same with answers and foils exchanged, the model gets one right."""
WHOLE = [
    (" Mary and John", " John"),
    (" Mark", " Bartholomew met"),
    (" school together", " garden party"),
    (" ring", " day"),
]
"""Answers and foils of several tokens, behind the same prompts."""
TEMPLATE = """{% for m in messages %}
{{ bos_token }}Then
{{ m['content'] }}{% endfor %}

{% if add_generation_prompt %}There
{% endif %}"""


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    of = by_name(tmp_path_factory)

    def made(name: str) -> Bench:
        bench = of(name)
        folder = bench.folder.parent
        (bench.folder / "chat_template.jinja").write_text(TEMPLATE)
        whole = [{**row, "answer": a, "foil": f} for row, (a, f) in zip(ROWS, WHOLE, strict=True)]
        alone = [{key: value for key, value in row.items() if key != "foil"} for row in ROWS]
        chat = [_bare(row) for row in ROWS]
        files = {"sets": ROWS, "both": BOTH, "whole": whole, "alone": alone, "chat": chat}
        for file, rows in files.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{file}.jsonl").write_text(lines)
        return bench

    return made


def _bare(row: Mapping[str, Any]) -> dict[str, Any]:
    """An answer begins the line behind the frame."""
    bare = {name: [text.strip() for text in row[name]] for name in ("answer", "foil")}
    return {**row, **bare}


def run(one: Bench, reader: str, text: str, backend: str) -> Ran:
    one.prelude = f'model lm = "NAME"\npairs p = jsonl({reader})\n'
    return one.run(text, backend)


class Case:
    """One row as the oracle sees it: its tokens, where WHO stands, and runs of the module."""

    def __init__(self, one: Bench, row: Mapping[str, Any], chat: bool):
        from transformers import AutoTokenizer

        self.model, self.row = one.model, row
        self.tokenizer = AutoTokenizer.from_pretrained(one.folder)
        self.chat, sides = chat, ("base", "source")
        texts = {side: self._framed(row[side]) for side in sides}
        self.base, self.source = (self._ids(texts[side]) for side in sides)
        self.who = {s: self._place(texts[s], row["positions"]["WHO"][s]) for s in sides}

    def _framed(self, text: str) -> str:
        if not self.chat:
            return text
        said = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)

    def _ids(self, text: str) -> list[int]:
        """The template says itself where BOS stands."""
        return list(self.tokenizer(text, add_special_tokens=not self.chat)["input_ids"])

    def _place(self, text: str, word: str) -> int:
        """The last token of the text up to a word."""
        return len(self._ids(text[: text.index(word) + len(word)])) - 1

    def tokens(self, name: str) -> list[int]:
        """The first token of each answer or foil."""
        texts = self.row.get(name, [])
        encode = self.tokenizer.encode
        return [encode(text, add_special_tokens=False)[0] for text in texts]

    def at(self, where: str, side: str = "base") -> int:
        return self.who[side] if where == "WHO" else len(getattr(self, side)) - 1

    def seen(self, place: Place, where: str, side: str = "source", edits: Edits = ()) -> Tensor:
        """(1, 1, d) in a run of one side."""
        tokens = torch.tensor([getattr(self, side)])
        (found,) = oracle.read(self.model, tokens, [place], edits)
        return found[:, [self.at(where, side)]]

    def put(self, place: Place, where: str, value: Tensor, add: bool = False) -> Any:
        return place, oracle.put(torch.tensor([[self.at(where)]]), value, add=add)

    def patch(self, place: Place, where: str) -> Any:
        return self.put(place, where, self.seen(place, where))

    def logits(self, edits: Edits = (), behind: Sequence[int] = ()) -> Tensor:
        """(V,) behind the base and some tokens more."""
        with torch.no_grad():
            return oracle.logits(self.model, torch.tensor([[*self.base, *behind]]), edits)[0]

    def log_prob(self, text: str, edits: Edits) -> float:
        """Of a whole text behind the base, token by token."""
        more = self.tokenizer.encode(text, add_special_tokens=False)
        steps = (self.logits(edits, more[:i]).log_softmax(-1)[t] for i, t in enumerate(more))
        return float(sum(steps))


def cases(one: Bench, rows: Sequence[Mapping[str, Any]] = ROWS, chat: bool = False) -> list[Case]:
    return [Case(one, row, chat) for row in rows]


RESID, LATE = ("resid_post", 1, None), ("resid_post", 2, None)
HEADS = [("head.z", layer, head) for layer in (1, 2) for head in (0, 3)]
MLP = ("mlp_out", 2, None)
Edited = Callable[[Case], Edits]


def _from_run(case: Case) -> Edits:
    """What the late stream holds at END in the run `other`, put into the bases."""
    other = [case.patch(RESID, "WHO")]
    return [case.put(LATE, "END", case.seen(LATE, "END", "base", other))]


def _in_order(case: Case) -> Edits:
    zero = torch.zeros_like(case.seen(MLP, "END"))
    return [case.patch(RESID, "WHO"), case.put(MLP, "END", zero)]


ARMS: dict[str, tuple[str, Edited]] = {
    "patched": ("patch resid_post[1] @ WHO", lambda c: [c.patch(RESID, "WHO")]),
    "several": (
        "patch some.z @ {WHO, END} + patch mlp_out[2] @ WHO",
        lambda c: [*(c.patch(h, w) for h in HEADS for w in ("WHO", "END")), c.patch(MLP, "WHO")],
    ),
    "taken": ("patch resid_post[2] @ END from other", _from_run),
    "in_order": ("patch resid_post[1] @ WHO then ablate mlp_out[2] @ END to zero", _in_order),
}
SETS = "set some = {1.0, 1.3, 2.0, 2.3}\nrun other = base with patch resid_post[1] @ WHO\n"
FOR_WHOLE = ("patched", "several")
"""Without stages and named runs, which are refused where answers have several tokens."""


def measure(report: str, names: Sequence[str] = tuple(ARMS)) -> str:
    arms = "\n".join(f"  {name} = {ARMS[name][0]}" for name in names)
    return f"{SETS}measure m on p {{\n{arms}\n  report {report} }}\n"


def by_pair(x: Tensor, clean: Tensor, answers: list[int], foils: list[int]) -> dict[str, float]:
    p, q, best = x.softmax(0), clean.softmax(0), x[answers].max()
    found = {
        "prob": p[answers].sum(),
        "loss": -p[answers].sum().log(),
        "rank": 1.0 + (x > best).sum(),
        "accuracy": float(int(x.argmax()) in answers),
        "kl": (q * (q.log() - x.log_softmax(0))).sum(),
    }
    if foils:
        difference = x[answers].mean() - x[foils].mean()
        found |= {
            "logit_diff": difference,
            "prob_diff": p[answers].sum() - p[foils].sum(),
            "positive_rate": float(difference > 0),
            "share": p[answers].sum() / (p[answers].sum() + p[foils].sum()),
        }
    return {name: float(value) for name, value in found.items()}


OWN = "metric share = prob(answer) / (prob(answer) + prob(foil))\n"


def wrong(
    ran: Ran, wanted: Mapping[str, list[dict[str, float]]], metrics: Sequence[str]
) -> list[str]:
    """Where the means of a measure's arms are not those of the oracle's numbers."""
    lines = []
    for arm, rows in wanted.items():
        for metric in metrics:
            right = sum(row[metric] for row in rows) / len(rows)
            found = ran.results.measures["m"][arm][metric]
            if found.n != len(rows) or not abs(found.mean - right) < CLOSE * max(1, abs(right)):
                lines.append(f"{arm}: {metric} is {found.mean}, not {right}")
    return lines


def worked_out(all_of_them: Sequence[Case], names: Sequence[str] = tuple(ARMS)) -> dict[str, Any]:
    """What the metrics are means of, by arm and pair; each arm moves some pair's logits."""
    found: dict[str, Any] = {}
    for arm in ("clean", *names):
        moved = 0.0
        for case in all_of_them:
            clean = case.logits()
            x = case.logits(ARMS[arm][1](case)) if arm != "clean" else clean
            moved = max(moved, float((x - clean).abs().max()))
            row = by_pair(x, clean, case.tokens("answer"), case.tokens("foil"))
            found.setdefault(arm, []).append(row)
        assert arm == "clean" or moved > 1e-7, f"{arm} changes nothing, so it shows nothing"
    return found


import_all("causaldsl.vocabulary")
ALONE = tuple(m.word for m in BUILT_IN.metrics.values() if m.of_sets and not m.of_foils)
OF_MEANS = ("fldd", "recovered", "faithfulness", "flip_rate")
"""Metrics that are worked out from the logit differences of several runs."""
_OF_FOILS = (m.word for m in BUILT_IN.metrics.values() if m.of_sets and m.of_foils)
CONTINUED = tuple(
    m.word for m in BUILT_IN.metrics.values() if m.of_continuations and m.word not in OF_MEANS
)
WITH_FOILS = (*(word for word in _OF_FOILS if word not in OF_MEANS), "share")


def test_every_metric_has_its_formula_here() -> None:
    """A new one must be written in `by_pair`, or named among those of several runs."""
    x = torch.tensor([0.5, 1.0, -1.0], dtype=torch.float64)
    missing = {*ALONE, *WITH_FOILS} - by_pair(x, x, [0], [1]).keys()
    assert not missing, f"`by_pair` has no {sorted(missing)}"


@pytest.mark.parametrize("name", EVERY)
def test_sets_of_answers_and_own_metrics(name: str, benches: Callable[[str], Bench]) -> None:
    one, metrics = benches(name), (*WITH_FOILS, *ALONE)
    wanted = worked_out(cases(one))
    for backend in BACKENDS:
        ran = run(one, '"sets.jsonl"', OWN + measure(", ".join(metrics)), backend)
        assert wrong(ran, wanted, metrics) == [], backend


@pytest.mark.parametrize("name", EVERY)
def test_answers_without_a_foil(name: str, benches: Callable[[str], Bench]) -> None:
    one = benches(name)
    wanted = worked_out(cases(one), ("patched", "taken"))
    for backend in BACKENDS:
        text = measure(", ".join(ALONE), ("patched", "taken"))
        assert wrong(run(one, '"alone.jsonl"', text, backend), wanted, ALONE) == [], backend


@pytest.mark.parametrize("name", EVERY)
def test_answers_of_several_tokens(name: str, benches: Callable[[str], Bench]) -> None:
    """They grow beyond a window that the prompt alone keeps to, and so do the edits' places."""
    one, metrics = benches(name), CONTINUED
    wanted: dict[str, list[dict[str, float]]] = {}
    for arm in ("clean", *FOR_WHOLE):
        for case, texts in zip(cases(one), WHOLE, strict=True):
            edits = ARMS[arm][1](case) if arm != "clean" else ()
            answer, foil = (case.log_prob(text, edits) for text in texts)
            row = {
                "logit_diff": answer - foil,
                "prob": math.exp(answer),
                "prob_diff": math.exp(answer) - math.exp(foil),
                "loss": -answer,
                "positive_rate": float(answer > foil),
            }
            wanted.setdefault(arm, []).append(row)
    for backend in BACKENDS:
        text = measure(", ".join(metrics), FOR_WHOLE)
        ran = run(one, '"whole.jsonl", answers: whole', text, backend)
        assert wrong(ran, wanted, metrics) == [], backend


@pytest.mark.parametrize("name", EVERY)
def test_chat_frames(name: str, benches: Callable[[str], Bench]) -> None:
    one, metrics = benches(name), ("logit_diff", "prob", "kl")
    rows = [_bare(row) for row in ROWS]
    wanted = worked_out(cases(one, rows, chat=True))
    for backend in BACKENDS:
        ran = run(one, '"chat.jsonl", frame: chat', measure(", ".join(metrics)), backend)
        assert wrong(ran, wanted, metrics) == [], backend


@pytest.mark.parametrize("name", EVERY)
def test_pairs_and_heads_that_a_run_chooses(name: str, benches: Callable[[str], Bench]) -> None:
    """Of the pairs that are right, the heads whose patch leaves the largest logit difference."""
    one = benches(name)
    right = [
        case for case in cases(one, BOTH) if worked_out([case], ())["clean"][0]["logit_diff"] > 0
    ]
    assert len(right) == len(ROWS)
    text = """
pairs p = jsonl("both.jsonl", where: correct)
subspace v = random(resid_post[2] @ END, seed: 1)
sweep scan on p { for h in heads[1..2]: patch head[h].z @ WHO  report logit_diff }
set best = top(3, scan.logit_diff)
measure m on p { best = patch best.z @ WHO + patch resid_post[2] @ END along v
  report logit_diff, prob }
"""
    program = one.folder.parent / "chosen.cpatch"
    program.write_text(f'model lm = "{one.folder.name}"{text}')

    def difference(edits: Callable[[Case], Edits]) -> float:
        rows = [
            by_pair(c.logits(edits(c)), c.logits(), c.tokens("answer"), c.tokens("foil"))
            for c in right
        ]
        return sum(row["logit_diff"] for row in rows) / len(rows)

    places = [("head.z", layer, head) for layer in (1, 2) for head in range(one.model.heads)]
    scan = {place: difference(lambda c, p=place: [c.patch(p, "WHO")]) for place in places}
    best = sorted(places, key=lambda place: -scan[place])[:3]
    for backend in BACKENDS:
        ran = api.run(program, backend=backend, dtype="float64")
        for place, value in scan.items():
            cell = ran.results.measures["scan"][f"[{place[1]}.{place[2]}]"]["logit_diff"]
            assert cell.mean == pytest.approx(value, abs=CLOSE)
            assert cell.n == len(right)
        basis = ran.subspaces["v"]["basis"]

        def chosen(case: Case, basis: Tensor = basis) -> Edits:
            at = torch.tensor([[case.at("END")]])
            along = oracle.put(at, case.seen(LATE, "END"), basis)
            return [*(case.patch(place, "WHO") for place in best), (LATE, along)]

        found = ran.results.measures["m"]["best"]["logit_diff"].mean
        assert found == pytest.approx(difference(chosen), abs=CLOSE)
