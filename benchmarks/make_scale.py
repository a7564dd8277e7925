"""docs/scale.md: costs reckoned and measured, and reckoned where nobody has measured.

    python benchmarks/make_scale.py

From costs.json (`benchmarks/costs.py`), growth.json (`make growth`) and gpu.json
(`benchmarks/gpu.py`); what is on paper follows from the planner's arithmetic.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from make_performance import _markdown

from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.plan.cost import time_text
from causaldsl.plan.entries import Entry
from causaldsl.plan.flops import backward_flops, clean_flops, tail_flops, unembed_flops
from causaldsl.plan.memory import BYTES
from causaldsl.plan.printing import size_text
from causaldsl.plan.seconds import SHARE

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
PAGE = ROOT / "docs/scale.md"
TOKENS, EPOCHS, DRAWS, ARMS = 20, 3, 2000, 100
PAIRS, GPUS = (10_000, 1_000_000), (1, 8, 64)
CARD = 80 * 2**30
_LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu"}
_LLAMA |= {"rms_norm_eps": 1e-5, "max_position_embeddings": 8192}
MODELS: dict[str, dict[str, Any]] = {
    "Llama of 7B": _LLAMA
    | {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "Llama of 70B": _LLAMA
    | {
        "vocab_size": 128256,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}


def main() -> None:
    read = {name: json.loads((HERE / f"{name}.json").read_text()) for name in ("costs", "gpu")}
    PAGE.write_text(page(read["costs"], read["gpu"]), encoding="utf-8")


def page(costs: dict[str, Any], gpu: dict[str, Any]) -> str:
    """The whole of docs/scale.md."""
    card, rate = gpu["machine"]["device"], gpu["ceilings"]["flops_per_second"]
    parts = ["# Scale", _filled(_INTRODUCTION), "## Reckoned and measured", _measured(costs)]
    parts += [_markdown(_COLUMNS, _programs(costs)), "## Growth", _filled(_GROWTH), "## On paper"]
    parts += [
        _filled(
            _PAPER,
            tokens=TOKENS,
            arms=ARMS,
            epochs=EPOCHS,
            card=card,
            rate=f"{rate / 1e12:.1f} TFLOP/s",
            share=f"{SHARE:.0%}",
        )
    ]
    parts += [_markdown(_ON_PAPER, list(_paper(rate))), _limits()]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """
For what a run costs in time, memory and store, here and far beyond this machine; how fast it is
beside other tools is in [performance.md](performance.md), how to spread a run in
[workers.md](workers.md). Made by `python benchmarks/make_scale.py`. `causaldsl check PROGRAM
--cost` reckons what a run takes from its plan, before any weight is loaded; `causaldsl calibrate`
measures the machine for it, once.
"""
_COLUMNS = ("program", "threads", "time reckoned", "measured", "memory reckoned", "measured")
_COLUMNS += ("store reckoned", "measured")
_GROWTH = """
[performance.md](performance.md#growth) has time and memory by pairs (to 10,000), tokens of a prompt
(to 512), arms (to 2,000) and layers, measured.
"""
_PAPER = """
Reckoned by the arithmetic of `causaldsl/plan/flops.py`: prompts of {tokens} tokens, clean runs of
bases and sources, {arms} arms from the middle of the model at END, and a training of a subspace
there, of {epochs} epochs. The rate is {share} of what a large float32 product reached on one {card}
({rate}), for every card alike and without what cards send each other; prompts share nothing.
Weights, and what clean runs of all pairs keep, are in float32, spread evenly over the cards.
"""
_MEASURED = """
{name}; seconds of the processor by PyTorch's threads, as other work ran on the machine. The worst
of these numbers is {worst:.2g} times off.
"""
_LIMITS = """
What becomes the limit first is the memory of a single card: the weights of 70B in float32 take at
least {least} cards (`--devices`). Then comes what clean runs keep, which goes to files beyond the
budget. Of {pairs:,} pairs, the weights of {draws:,} bootstrap draws would be {drawn} at once (they
are taken some at a time), and values by pair of {arms} arms are {values}.
"""


def _filled(text: str, **numbers: Any) -> str:
    return textwrap.fill(text.strip().format(**numbers), 99, break_on_hyphens=False)


_ON_PAPER = ("model", "pairs", "cards", "operations", "time", "weights by card", "kept by card")


def _measured(costs: dict[str, Any]) -> str:
    profile = costs["profile"]
    worst = max(
        max(a / b, b / a)
        for one in costs["programs"].values()
        for a, b in ((one["reckoned"][part], one["run"][part]) for part in _AMOUNTS)
    )
    return _filled(_MEASURED, worst=worst, **profile)


_AMOUNTS = ("seconds", "memory", "store")


def _programs(costs: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, one in costs["programs"].items():
        row = [f"`{name}`", str(one["run"]["threads"])]
        for part, text in zip(_AMOUNTS, (time_text, size_text, size_text), strict=True):
            row += [text(one["reckoned"][part]), text(one["run"][part])]
        rows.append(tuple(row))
    return rows


def _paper(rate: float) -> Any:
    for name, config in MODELS.items():
        shapes = shapes_from_config(name, config, "none")
        for pairs in PAIRS:
            flops = pairs * _flops_of_pair(shapes)
            for cards in GPUS:
                weights = _weights(shapes) * BYTES["float32"] / cards
                kept = pairs * _kept_of_pair(shapes) / cards
                seconds = flops / (SHARE * rate * cards)
                fits = size_text(weights) + ("" if weights < CARD else " (no room)")
                yield (
                    name,
                    f"{pairs:,}",
                    str(cards),
                    f"{flops:.1e}",
                    time_text(seconds),
                    fits,
                    size_text(kept),
                )


def _flops_of_pair(shapes: ModelDims) -> int:
    entry = Entry(shapes.n_layers // 2)
    clean = 2 * clean_flops(shapes, [TOKENS]) + unembed_flops(shapes, None)
    arm = tail_flops(shapes, entry, 1, TOKENS - 1)
    return clean + (ARMS + EPOCHS) * arm + EPOCHS * backward_flops(shapes, entry, 1, TOKENS - 1)


def _kept_of_pair(shapes: ModelDims) -> int:
    """Keys and values of the upper half, left of END, of a base; the stream of both sides."""
    heads = 2 * shapes.n_kv_heads * shapes.d_head
    above = (shapes.n_layers - shapes.n_layers // 2) * (TOKENS - 1) * heads
    return (above + 3 * shapes.d_model) * BYTES["float32"]


def _weights(shapes: ModelDims) -> int:
    """Of all matrices: twice what a token costs is once each (attention among tokens apart)."""
    return (clean_flops(shapes, [1]) + unembed_flops(shapes, None)) // 2 + (
        shapes.d_vocab * shapes.d_model
    )


def _limits() -> str:
    pairs = PAIRS[-1]
    draws = pairs * DRAWS * BYTES["float64"]
    values = pairs * (ARMS + 2) * BYTES["float64"]
    first = shapes_from_config("70B", MODELS["Llama of 70B"], "none")
    least = -(-_weights(first) * BYTES["float32"] // CARD)
    return _filled(
        _LIMITS,
        least=least,
        pairs=pairs,
        draws=DRAWS,
        drawn=size_text(draws),
        arms=ARMS,
        values=size_text(values),
    )


if __name__ == "__main__":
    main()
