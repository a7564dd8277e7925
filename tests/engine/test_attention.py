"""Patterns of attention, patched, cut and measured, against the module's own softmax.

The oracle changes what goes into, or comes out of, the softmax of one layer of the transformers
module, in whole forward passes in float64. It knows of no window, sink, cap or shared key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from causaldsl.check.pairs import Prompt
from causaldsl.diagnostics import RunFailure
from tests.families import oracle
from tests.families.bench import BACKENDS, CLOSE, ONE_LENGTH, Bench, Ran, by_name

MORE = ("qwen2", "gpt_neox", "gemma2", "gpt_oss", "gpt_neo", "mistral", "gemma3", "qwen3")

SHOWN_LATE = (("gpt_neo", "hooks"),)
"""TransformerLens shows patterns after they have been used, so a hook would change nothing."""


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    return by_name(tmp_path_factory, ONE_LENGTH)


@dataclass
class Softmax(TorchFunctionMode):
    """Lets functions see and change scores and weights (n, heads, T, T) by layer."""

    scores: dict[int, Callable[[Tensor], Tensor]]
    weights: dict[int, Callable[[Tensor], Tensor]]
    layer: int = -1

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        of_weights = func in (F.softmax, torch.softmax, Tensor.softmax) and args[0].dim() == 4
        if not of_weights:
            return func(*args, **(kwargs or {}))
        tokens = args[0].shape[2]
        if self.layer in self.scores:
            x = args[0].clone()  # a sink has a column of its own behind the tokens
            x[..., :tokens] = self.scores[self.layer](x[..., :tokens])
            args = (x, *args[1:])
        found = func(*args, **(kwargs or {}))
        if self.layer in self.weights:
            found = found.clone()
            found[..., :tokens] = self.weights[self.layer](found[..., :tokens])
        return found


@contextmanager
def softmax(model: Any, scores: Any = None, weights: Any = None) -> Iterator[None]:
    mode = Softmax(scores or {}, weights or {})

    def at(layer: int) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            mode.layer = layer

        return enter

    handles = [b.register_forward_pre_hook(at(i)) for i, b in enumerate(model.blocks)]
    try:
        with mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


def logits(model: Any, prompt: Prompt, **changes: Any) -> Tensor:
    """(V,) of one prompt with functions on scores or weights by layer."""
    with torch.no_grad(), softmax(model, **changes):
        return oracle.logits(model, torch.tensor([prompt.ids]))[0]


def pattern(model: Any, prompt: Prompt, layer: int, edits: Sequence[Any] = ()) -> Tensor:
    """(heads, T, T) of one prompt."""
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x[0].clone())
        return x

    with torch.no_grad(), softmax(model, weights={layer: keep}):
        oracle.logits(model, torch.tensor([prompt.ids]), edits)
    return seen[0]


def cut(heads: Sequence[int], queries: Sequence[int], keys: Sequence[int]) -> Any:
    def change(scores: Tensor) -> Tensor:
        out = scores.clone()
        for head in heads:
            for query in queries:
                out[:, head, query, list(keys)] = -torch.inf
        return out

    return change


def put(head: int, query: int, row: Tensor) -> Any:
    def change(weights: Tensor) -> Tensor:
        out = weights.clone()
        out[:, head, query] = row
        return out

    return change


PROGRAM = """
set ends = {S2, END}
run other = base with patch resid_post[0] @ S2
measure m on flip.test {
  whole = cut heads[1..2] @ END from S2
  some = cut {1.0, 2.3} @ {S2, END} from {S2-1, S2-2}
  stretch = cut heads @ S2..END from {S2-3..S2-1}
  joined = cut head[1.2] @ END from S2 + cut head[1.2] @ END from S2-1
  named = cut heads[0..1] @ ends from ends
  patched = patch head[1.2].pattern @ END
  patched_two = patch heads[1].pattern @ ends
  gone = ablate head[2.1].pattern @ END to zero
  from_run = patch head[2.1].pattern @ END from other
  mean = ablate head[2.1].pattern @ END to mean
  then_z = cut heads[1] @ END from S2 + patch head[2.0].z @ END
  routed = patch head[1.2].pattern @ END -> head[2.0].q @ END -> logits {FREE}
  held = patch head[1.2].pattern @ END -> head[2.0].q @ END -> logits {HOLD}
  heard = resid_pre[1] @ END -> head[2.1].pattern @ END -> logits {ALL}
  report logit_diff
}
table t { for h in {1.0, 2.3}: to_s = attention(head[h] @ END, to: S2, on: flip.test) }
let several = attention(head[1.1] @ S2..END, to: {S2, S2-1}, on: flip.test)
"""
for _short, _policy in (
    ("FREE", " freeze none  layernorm recompute "),
    ("HOLD", " freeze all  layernorm frozen "),
    ("ALL", " freeze all  layernorm recompute "),
):
    PROGRAM = PROGRAM.replace(_short, _policy)


def wanted(one: Bench, ran: Ran) -> dict[str, list[Tensor]]:
    """The logits of every arm, pair by pair."""
    model = one.model
    pairs = ran.session.graph.pairs[ran.session.graph.key_of("flip.test")].pairs
    every = range(model.heads)
    found: dict[str, list[Tensor]] = {}
    means = torch.stack([pattern(model, p.base, 2)[1, p.base.named["END"]] for p in pairs]).mean(0)
    for pair in pairs:
        base, source = pair.base, pair.source
        s2, end = base.named["S2"], base.named["END"]

        def add(name: str, base: Prompt = base, **changes: Any) -> None:
            found.setdefault(name, []).append(logits(model, base, **changes))

        both = cut(every, [end], [s2])
        add("whole", scores={1: both, 2: both})
        near = [s2 - 1, s2 - 2]
        add("some", scores={1: cut([0], [s2, end], near), 2: cut([3], [s2, end], near)})
        all_left = cut(every, range(s2, end + 1), range(s2 - 3, s2))
        add("stretch", scores=dict.fromkeys(range(len(model.blocks)), all_left))
        add("joined", scores={1: cut([2], [end], [s2, s2 - 1])})
        named = cut(every, [s2, end], [s2, end])
        add("named", scores={0: named, 1: named})
        of_source = pattern(model, source, 1)
        add("patched", weights={1: put(2, end, of_source[2, end])})

        def two(x: Tensor, of_source: Tensor = of_source, s2: int = s2, end: int = end) -> Tensor:
            out = x.clone()
            out[:, :, [s2, end]] = of_source[:, [s2, end]]
            return out

        add("patched_two", weights={1: two})
        add("gone", weights={2: put(1, end, torch.zeros(base.length))})
        (resid,) = oracle.read(model, torch.tensor([source.ids]), [("resid_post", 0, None)])
        put_s2 = oracle.put(torch.tensor([[s2]]), resid[:, [s2]])
        other = pattern(model, base, 2, [(("resid_post", 0, None), put_s2)])
        add("from_run", weights={2: put(1, end, other[1, end])})
        add("mean", weights={2: put(1, end, means)})
        (z,) = oracle.read(model, torch.tensor([source.ids]), [("head.z", 2, 0)])
        put_z = (("head.z", 2, 0), oracle.put(torch.tensor([[end]]), z[:, [end]]))
        with torch.no_grad(), softmax(model, scores={1: both}):
            joined = oracle.logits(model, torch.tensor([base.ids]), [put_z])[0]
        found.setdefault("then_z", []).append(joined)
        with torch.no_grad(), softmax(model, weights={1: put(2, end, of_source[2, end])}):
            (q,) = oracle.read(model, torch.tensor([base.ids]), [("head.q", 2, 0)])
        put_q = (("head.q", 2, 0), oracle.put(torch.tensor([[end]]), q[:, [end]]))
        with torch.no_grad():
            by_path = oracle.logits(model, torch.tensor([base.ids]), [put_q])[0]
        found.setdefault("routed", []).append(by_path)
        free = frozenset({("head.z", 1, 2)})
        everything = oracle.Held(attention=True, mlp=True, norms=True, free=free)
        tokens = torch.tensor([base.ids])
        model.remembered(tokens, oracle._clean_values)  # what is held is of an unchanged run
        with softmax(model, weights={1: put(2, end, of_source[2, end])}):
            (q,) = oracle.read(model, tokens, [("head.q", 2, 0)], (), everything)
        put_q = (("head.q", 2, 0), oracle.put(torch.tensor([[end]]), q[:, [end]]))
        with torch.no_grad():
            found.setdefault("held", []).append(oracle.logits(model, tokens, [put_q])[0])
        (pre,) = oracle.read(model, torch.tensor([source.ids]), [("resid_pre", 1, None)])
        put_pre = (("resid_pre", 1, None), oracle.put(torch.tensor([[end]]), pre[:, [end]]))
        seen: list[Tensor] = []

        def keep(x: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(x[0].clone())
            return x

        with torch.no_grad(), softmax(model, weights={2: keep}):
            oracle.logits(model, tokens, [put_pre], oracle.Held(attention=True, mlp=True))
        add("heard", weights={2: put(1, end, seen[-1][1, end])})
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name", ["gpt2", "llama", *(pytest.param(name, marks=pytest.mark.soak) for name in MORE)]
)
def test_the_numbers_are_the_oracles(
    name: str, backend: str, benches: Callable[[str], Bench]
) -> None:
    one = benches(name)
    if (name, backend) in SHOWN_LATE:
        with pytest.raises(RunFailure, match="has no hook"):
            one.run(PROGRAM, backend)
        return
    ran = one.run(PROGRAM, backend)
    pairs = ran.session.graph.pairs[ran.session.graph.key_of("flip.test")].pairs
    lines = []
    clean = [logits(one.model, pair.base) for pair in pairs]
    for arm, found in wanted(one, ran).items():
        right = [float(x[p.answer] - x[p.foil]) for x, p in zip(found, pairs, strict=True)]
        ours = ran.arm("m", arm)[0]["logit_diff"].tolist()
        error = max(abs(a - b) for a, b in zip(right, ours, strict=True))
        if not error < CLOSE * max(1, *map(abs, right)):
            lines.append(f"{arm}: off by {error:.2g} on {ran.arm('m', arm)[1]}")
        moved = max(float((a - b).abs().max()) for a, b in zip(found, clean, strict=True))
        if moved < 1e-7 and arm not in (
            "routed",
            "held",
        ):  # no window lets END see what is cut, or so
            lines.append(f"{arm}: changes nothing, so it shows nothing")
    assert lines == []
    for label, layer, head in (("1.0", 1, 0), ("2.3", 2, 3)):
        shares = [
            float(pattern(one.model, p.base, layer)[head, p.base.named["END"], p.base.named["S2"]])
            for p in pairs
        ]
        cell = ran.results.tables["t"].cells["to_s"][label]
        assert cell == pytest.approx(sum(shares) / len(shares), abs=CLOSE)
    shares = []
    for pair in pairs:
        s2, end = pair.base.named["S2"], pair.base.named["END"]
        rows = pattern(one.model, pair.base, 1)[1, s2 : end + 1]
        shares.append(float(rows[:, [s2, s2 - 1]].sum(-1).mean()))
    assert ran.results.numbers["several"] == pytest.approx(sum(shares) / len(shares), abs=CLOSE)


def test_prompts_of_different_lengths(benches: Callable[[str], Bench]) -> None:
    """The cone aligns them at their ends, and each has tokens of its own to its left."""
    one = benches("llama")
    text = "When {X} and {Y} met. {Z} said to"
    prelude = ONE_LENGTH.replace("  slots", f'  test "{text}"\n  slots')
    longer = Bench(one.name, one.folder, prelude)
    program = """
measure m on flip.test { a = cut heads[1..2] @ END from S2  b = cut heads[0] @ {S2, END} from S2-1
  report logit_diff }
let share = attention(head[1.1] @ END, to: S2, on: flip.test)
"""
    for backend in BACKENDS:
        ran = longer.run(program, backend)
        pairs = ran.session.graph.pairs[ran.session.graph.key_of("flip.test")].pairs
        assert len({pair.base.length for pair in pairs}) > 1
        every, right = range(one.model.heads), {"a": [], "b": []}
        shares = []
        for pair in pairs:
            s2, end = pair.base.named["S2"], pair.base.named["END"]
            both = cut(every, [end], [s2])
            near = cut(every, [s2, end], [s2 - 1])
            for arm, scores in (("a", {1: both, 2: both}), ("b", {0: near})):
                found = logits(one.model, pair.base, scores=scores)
                right[arm].append(float(found[pair.answer] - found[pair.foil]))
            shares.append(float(pattern(one.model, pair.base, 1)[1, end, s2]))
        for arm, values in right.items():
            assert ran.arm("m", arm)[0]["logit_diff"].tolist() == pytest.approx(values, abs=CLOSE)
        assert ran.results.numbers["share"] == pytest.approx(sum(shares) / len(shares), abs=CLOSE)


def test_a_share_has_an_interval(benches: Callable[[str], Bench]) -> None:
    """Shares of attention lie between 0 and 1, and a claim on one is decided by pairs."""
    one = benches("llama")
    text = "let s = attention(head[1.1] @ END, to: S2-9..END, on: flip.test)\nexpect s > 0.001\n"
    ran = one.run(text, "cone")
    (claim,) = ran.results.expectations
    assert claim.verdict == "held"
    assert 0 < ran.results.numbers["s"] <= 1
