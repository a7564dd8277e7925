"""Sets of answers and answers without a foil against raw PyTorch, in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.check.pairs import PairSet
from causaldsl.discovery import import_all
from causaldsl.vocabulary.register import BUILT_IN
from tests import oracle
from tests.tiny import tiny_folder, tiny_tokenizer

ROWS = [
    ("The man gave Mary", "The boy gave John", [" book", " ring"], [" kiss"]),
    ("The girl gave Kate", "The man gave Paul", [" bone"], [" drink", " snack", " apple"]),
    (
        "The dog gave Tom the",
        "The cat gave Dan the",
        [" ring", " bone", " kiss"],
        [" book", " one"],
    ),
    ("The boy said Amy", "The girl said Luke", [" day"], [" night"]),
]
NUMBERS = ["one", "two", "three", "four", "five", "six"]
THERE = ("resid_post", 1, None)
TOKENIZER = tiny_tokenizer(bos=True)
import_all("causaldsl.vocabulary")
OF_SETS = [m.word for m in BUILT_IN.metrics.values() if m.of_sets and not m.of_empty]
"""Metrics of sets of answers; what is of a circuit is worked out in `test_circuit_programs.py`."""
ALONE = [word for word in OF_SETS if not BUILT_IN.metrics[word].of_foils]


class World:
    """A folder with a model and pairs, and the oracle's logits (V,) of each pair by run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.module = oracle.of_folder(tiny_folder(folder, "llama"))
        self.logits = {arm: [self.behind(row, arm) for row in ROWS] for arm in ("clean", "a", "s")}
        lines = [dict(zip(("base", "source", "answer", "foil"), r, strict=True)) for r in ROWS]
        (folder / "sets.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        alone = [{name: v for name, v in line.items() if name != "foil"} for line in lines]
        (folder / "alone.jsonl").write_text("".join(json.dumps(line) + "\n" for line in alone))

    def behind(self, row: tuple[str, str, list[str], list[str]], arm: str) -> Tensor:
        """Logits behind a base as it is, patched at END, or behind its source."""
        base, source = (torch.tensor([TOKENIZER.encode(row[side]).ids]) for side in (0, 1))
        value = oracle.read(self.module, source, THERE)[:, -1]

        def patched(x: Tensor) -> Tensor:
            return torch.cat([x[:, :-1], value[:, None]], 1)

        edits = [(THERE, patched)] if arm == "a" else []
        return oracle.logits(self.module, source if arm == "s" else base, edits)[0]

    def run(self, text: str, backend: str = "cone") -> api.Run:
        return api.run('model lm = "tiny-llama"\n' + text, backend=backend, dtype="float64")


def ids(words: list[str]) -> list[int]:
    return [TOKENIZER.token_to_id(word.replace(" ", "Ġ")) for word in words]


def by_pair(found: list[Tensor], clean: list[Tensor]) -> dict[str, list[float]]:
    """What each metric is a mean of, pair by pair."""
    out: dict[str, list[float]] = {}
    for x, before, (_, _, answers, foils) in zip(found, clean, ROWS, strict=True):
        a, f = ids(answers), ids(foils)
        p = [float(v) for v in x.exp() / x.exp().sum()]
        difference = sum(float(x[i]) for i in a) / len(a) - sum(float(x[i]) for i in f) / len(f)
        best = max(float(x[i]) for i in a)
        q = before.softmax(0)
        row = {
            "logit_diff": difference,
            "positive_rate": float(difference > 0),
            "prob": sum(p[i] for i in a),
            "prob_diff": sum(p[i] for i in a) - sum(p[i] for i in f),
            "loss": -float(torch.tensor(sum(p[i] for i in a), dtype=torch.float64).log()),
            "rank": 1.0 + sum(float(v) > best for v in x),
            "accuracy": float(int(x.argmax()) in a),
            "kl": float((q * (q.log() - x.log_softmax(0))).sum()),
        }
        for name, value in row.items():
            out.setdefault(name, []).append(value)
    return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True)
def there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_metrics_of_sets(world: World, backend: str) -> None:
    run = world.run(
        'pairs p = jsonl("sets.jsonl")\n'
        f"measure m on p {{ a = patch resid_post[1] @ END  report {', '.join(OF_SETS)} }}",
        backend,
    )
    expected = {arm: by_pair(x, world.logits["clean"]) for arm, x in world.logits.items()}
    mean = {
        arm: {name: sum(v) / len(v) for name, v in columns.items()}
        for arm, columns in expected.items()
    }
    lds = {arm: columns["logit_diff"] for arm, columns in expected.items()}
    clean, source = mean["clean"]["logit_diff"], mean["s"]["logit_diff"]
    for arm in ("clean", "a"):
        mean[arm]["fldd"] = 1 - mean[arm]["logit_diff"] / clean
        mean[arm]["recovered"] = (mean[arm]["logit_diff"] - clean) / (source - clean)
        both = zip(lds[arm], lds["clean"], strict=True)
        mean[arm]["flip_rate"] = sum(x * y < 0 for x, y in both) / len(ROWS)
        missing = set(OF_SETS) - mean[arm].keys()
        assert not missing, f"write what {sorted(missing)} must give, in `by_pair` or here"
        for name, wanted in mean[arm].items():
            found = run.results.measures["m"][arm][name]
            if found.mean is not None and found.mean == found.mean:  # withheld ones are not numbers
                assert found.mean == pytest.approx(wanted, abs=1e-9), (arm, name)
    assert abs(mean["a"]["logit_diff"] - clean) > 0.01
    values = run.values.to_pandas()
    kept = values[(values.arm == "a") & (values.metric == "prob_diff")].sort_values("pair")
    assert list(kept.value) == pytest.approx(expected["a"]["prob_diff"], abs=1e-9)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_answers_without_a_foil(world: World, backend: str) -> None:
    run = world.run(
        'pairs p = jsonl("alone.jsonl")\n'
        f"measure m on p {{ a = patch resid_post[1] @ END  report {', '.join(ALONE)} }}",
        backend,
    )
    for arm in ("clean", "a"):
        for name, values in by_pair(world.logits[arm], world.logits["clean"]).items():
            if name in ALONE:
                found = run.results.measures["m"][arm][name].mean
                assert found == pytest.approx(sum(values) / len(values), abs=1e-9), (arm, name)
    names = set(run.values.column("metric").to_pylist())
    assert "logit" in names
    assert "logit_diff" not in names
    assert not any("prefers the answer to the foil" in note for note in run.results.notes)


def test_gradients_and_traces_of_sets(world: World) -> None:
    run = world.run(
        'pairs p = jsonl("sets.jsonl")\n'
        "subspace g = gradient(resid_post[1] @ END, on: p)\n"
        "trace t = patch resid_post[1] @ END to logit_diff on p { through mlps[2]  top 1 }"
    )
    total = torch.zeros(32, dtype=torch.float64)
    for base, _, answers, foils in ROWS:
        tokens = torch.tensor([TOKENIZER.encode(base).ids])
        step = torch.zeros(32, dtype=torch.float64, requires_grad=True)

        def moved(x: Tensor, step: Tensor = step) -> Tensor:
            return torch.cat([x[:, :-1], (x[:, -1] + step)[:, None]], 1)

        x = oracle.logits(world.module, tokens, [(THERE, moved)])[0]
        (found,) = torch.autograd.grad(x[ids(answers)].mean() - x[ids(foils)].mean(), step)
        total += found / len(ROWS)
    assert torch.allclose(run.subspaces["g"]["vectors"][:, 0], total, atol=1e-9)
    lds = {a: by_pair(x, world.logits["clean"])["logit_diff"] for a, x in world.logits.items()}
    effect = (sum(lds["a"]) - sum(lds["clean"])) / len(ROWS)
    assert run.results.traces["t"].total.mean == pytest.approx(effect, abs=1e-9)


def part(text: str) -> PairSet:
    found = api.check('model lm = "tiny-llama"\n' + text).families["p"].test
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("answer after X  foil upto X", lambda i: (NUMBERS[i + 1 :], NUMBERS[: i + 1])),
        ("answer from X  foil before X", lambda i: (NUMBERS[i:], NUMBERS[:i])),
        ("answer X  foil other X", lambda i: ([NUMBERS[i]], NUMBERS[:i] + NUMBERS[i + 1 :])),
        ('answer [X, " he"]  foil [" she"]', lambda i: ([NUMBERS[i], "he"], ["she"])),
        ("answer other A", lambda i: (NUMBERS[:i] + NUMBERS[i + 1 :], [])),
    ],
)
def test_sets_hang_on_the_pair(world: World, said: str, wanted: object) -> None:
    """Sets follow the list's order, of which a split takes no part away; none is empty."""
    pairs = part(
        f"lexicon n = words({json.dumps(NUMBERS)}) split half\n"
        f'prompts q {{ test "The day {{X}} was" slots X: n {said} }}\npairs p = q A {{ test 2 }}'
    )
    for pair in pairs.pairs:
        own = NUMBERS.index(pair.base.text.split()[2])
        assert own % 2 == 1  # the other half is training's
        sets = wanted(own)  # type: ignore[operator]
        assert pair.members == tuple(tuple(ids([f" {w}" for w in some])) for some in sets)
        assert all(pair.members) or "foil" not in said
    assert pairs.foils == ("foil" in said)


def test_a_number_goes_on_without_a_space(world: World) -> None:
    digits = [str(n) for n in range(10)]
    pairs = part(
        f"lexicon d = phrases({json.dumps(digits)})\n"
        'prompts q { test "from 17{X} to 17" slots X: d answer after X foil upto X }\n'
        "pairs p = q A { test 6 }"
    )
    for pair in pairs.pairs:
        own = int(pair.base.text.split()[1][-1])
        sets = digits[own + 1 :], digits[: own + 1]
        assert pair.members == tuple(tuple(ids(some)) for some in sets)


def test_saved_sets_read_back(world: World, tmp_path: Path) -> None:
    for name in ("sets", "alone"):
        text = (
            'model lm = "tiny-llama"\n'
            f'pairs p = jsonl("{name}.jsonl")\n'
            "measure m on p { a = patch resid_post[1] @ END  report prob, loss }"
        )
        first = api.run(text, out=tmp_path / name)
        saved = (tmp_path / name / "pairs" / "p.jsonl").read_text()
        (world.folder / "saved.jsonl").write_text(saved)
        again = api.run(text.replace(f"{name}.jsonl", "saved.jsonl"))
        assert again.results.measures == first.results.measures
        one, other = (run.program.families["p"].whole for run in (first, again))
        assert one is not None
        assert other is not None
        assert [p.members for p in one.pairs] == [p.members for p in other.pairs]
