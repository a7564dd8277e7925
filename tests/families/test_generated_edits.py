"""Texts with values of sources, and with features, against hooks on transformers' own `generate`.

By hand a text is written by the transformers module, greedily and with its cache, one prompt at a
time, while a hook on one of its blocks changes what that gives: at tokens of the prompt, which a
first pass reads, or at every token. What a dictionary computes is that of ``test_features.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.families import oracle
from tests.families.arms import Case, indices
from tests.families.bench import BACKENDS, PRELUDE, Bench, Ran, bench
from tests.families.test_features import Mine, write

FAMILIES = ("llama", "gpt2", "gpt_neox")
"""Each adds what an MLP puts out to the stream as it is, so that a block's end shows it."""
TOKENS = 8
TEXT = """
dictionary f = sae("topk") at resid_post[1]
dictionary t = transcoder("transcoder") at mlp_in[1] -> mlp_out[1]
subspace v = random(resid_post[1] @ END, dim: 24, seed: 1)
subspace nine = neurons(f.features @ END, [9])
generate g on flip.test {
  plain = base
  named = patch resid_post[1] @ S2
  last = patch resid_post[1] @ END
  stretch = patch resid_post[1] @ S2..END along v
  elsewhere = patch resid_post[1] @ END from base at resid_post[2] @ S2
  features = patch f.features @ S2..END
  some = patch f.features[{3, 7, 11, 20}] @ END + patch f.features[0..24] @ S2
  through = patch t.features @ END
  pushed = steer f.features @ all along nine by 30
  off = ablate f.features[0..30] @ all to zero
  none = ablate f.features @ all to zero
  tokens 8
  report text, length
}
"""
Hook = Callable[[Tensor, int], Tensor]
"""From what a block gives (T, d), and the index of its first token, to what it gives instead."""


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = bench(tmp_path_factory.mktemp(request.param), request.param)
    found.prelude = PRELUDE.replace("test 4", "test 8")
    return found


@pytest.fixture(scope="module")
def mine(made: Bench) -> dict[str, Mine]:
    kinds = ("topk", "transcoder")
    return {kind: write(made.folder.parent / kind, kind, seed=3) for kind in kinds}


def written(model: Any, ids: tuple[int, ...], change: Hook) -> list[int]:
    """New tokens of one prompt, up to the one that ends a text."""
    begun = [0]

    def hook(_: Any, __: Any, out: Any) -> Any:
        x = out[0] if isinstance(out, tuple) else out
        new = change(x[0], begun[0])[None]
        begun[0] += x.shape[1]
        return (new, *out[1:]) if isinstance(out, tuple) else new

    tokens = torch.tensor([ids])
    handle = model.blocks[1].register_forward_hook(hook)
    try:
        with torch.no_grad(), oracle.double():
            found = model.module.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=1,
                use_cache=True,
            )
    finally:
        handle.remove()
    new: list[int] = found[0, len(ids) :].tolist()
    return new[: new.index(0)] if 0 in new else new


def hooks(made: Bench, ran: Ran, mine: dict[str, Mine], case: Case) -> dict[str, Hook]:
    """What each arm does to what block 1 gives, for one pair."""
    found, through, v = mine["topk"], mine["transcoder"], ran.basis("v")
    kinds = [("resid_post", 1, None), ("resid_post", 2, None), ("mlp_in", 1, None)]
    base, later, into = (x[0] for x in oracle.read(made.model, torch.tensor([case.base]), kinds))
    source, _, other = (x[0] for x in oracle.read(made.model, torch.tensor([case.source]), kinds))
    at = {
        side: {where: indices(where, named, len(base)) for where in ("S2", "END", "S2..END")}
        for side, named in (("base", case.base_at), ("source", case.source_at))
    }

    def in_prompt(where: str, new: Tensor) -> Hook:
        def change(x: Tensor, first: int) -> Tensor:
            out = x.clone()
            if not first:
                out[at["base"][where]] = new
            return out

        return change

    def from_source(where: str) -> Tensor:
        return source[at["source"][where]]

    def featured(where: str, numbers: list[int]) -> Tensor:
        old = base[at["base"][where]]
        moved = found.encode(from_source(where)) - found.encode(old)
        return old + moved[:, numbers] @ found.W_dec[numbers]

    def everywhere(change: Callable[[Tensor], Tensor]) -> Hook:
        return lambda x, _: x + change(x) @ found.W_dec

    def without(numbers: list[int]) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            out = torch.zeros(len(x), len(found.W_dec), dtype=x.dtype)
            out[:, numbers] = -found.encode(x)[:, numbers]
            return out

        return change

    def push(x: Tensor) -> Tensor:
        out = torch.zeros(len(x), len(found.W_dec), dtype=x.dtype)
        out[:, 9] = 30
        return out

    every, old = list(range(len(found.W_dec))), base[at["base"]["S2..END"]]
    end, s2 = featured("END", [3, 7, 11, 20]), featured("S2", list(range(25)))
    moved = through.encode(other[at["source"]["END"]]) - through.encode(into[at["base"]["END"]])
    both = in_prompt("END", end)
    return {
        "plain": lambda x, _: x,
        "named": in_prompt("S2", from_source("S2")),
        "last": in_prompt("END", from_source("END")),
        "stretch": in_prompt("S2..END", old + (from_source("S2..END") - old) @ v @ v.T),
        "elsewhere": in_prompt("END", later[at["base"]["S2"]]),
        "features": in_prompt("S2..END", featured("S2..END", every)),
        "some": lambda x, first: in_prompt("S2", s2)(both(x, first), first),
        "through": in_prompt("END", base[at["base"]["END"]] + moved @ through.W_dec),
        "pushed": everywhere(push),
        "off": everywhere(without(list(range(31)))),
        "none": everywhere(without(every)),
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_texts_are_those_of_transformers(backend: str, made: Bench, mine: dict[str, Mine]) -> None:
    ran = made.run(TEXT, backend)
    cases = made.pairs(ran, "flip.test")
    wanted: dict[str, list[list[int]]] = {}
    for case in cases:
        for arm, change in hooks(made, ran, mine, case).items():
            wanted.setdefault(arm, []).append(written(made.model, case.base, change))
    found = ran.value("g").written
    assert found.keys() == wanted.keys()
    for arm, texts in wanted.items():
        assert [list(one) for one in found[arm].tokens] == texts, arm
        assert arm == "plain" or texts != wanted["plain"], f"{arm} changes nothing"
