"""A path scan: heads -> the queries of two heads -> logits, everything else frozen, norms anew.

With hooks, what one writes on TransformerLens: the clean and the source run are cached once, then
two whole forward passes a sender: one in which all heads and MLPs but the sender are held at their
clean values, to record the queries, and one in which only these queries are replaced.
"""

from __future__ import annotations

from typing import Any

import torch
from bench import Bench
from common import Pairs
from product import Ours, logit_diffs
from torch import Tensor
from turns import Comparison, Timing, now

from comparisons.sweeps import difference

Head = tuple[int, int]


def path_scan(bench: Bench) -> Comparison:
    sizes, shapes = bench.sizes, bench.shapes
    pairs = bench.pairs(sizes.scan)
    # Of SmolLM2: layer 23, where the name movers are.
    layer = min(bench.layer + 3, shapes.n_layers - 1)
    receivers = [(layer, head) for head in dict.fromkeys((0, 3 % shapes.n_heads))]
    below = [(at, head) for at in range(layer) for head in range(shapes.n_heads)]
    senders = below[:: max(1, len(below) // sizes.scan_senders)][: sizes.scan_senders]
    body = (
        f"sweep s on p {{ for h in {_named(senders)}: head[h].z @ END -> {_named(receivers)}.q "
        "@ END -> logits { freeze all  layernorm recompute }  report logit_diff }"
    )
    program = bench.program("path_scan", pairs, body)
    return Comparison(
        name="path_scan",
        about=f"paths from {len(senders)} of {len(below)} heads to the queries of "
        f"{_named(receivers)} @ END to the logits, {len(pairs)} pairs",
        sides=[
            Ours(bench.product, program, output=lambda session: logit_diffs(session, "s")),
            _Lens(bench, pairs, senders, receivers),
        ],
        facts={
            "pairs": len(pairs),
            "tokens": pairs.base.shape[1],
            "senders": len(senders),
            "receivers": _named(receivers),
            "check_s": round(program.check, 4),
            "compile_s": round(program.compile, 4),
        },
    )


def _named(heads: list[Head]) -> str:
    return "{" + ", ".join(f"{layer}.{head}" for layer, head in heads) + "}"


class _Lens:
    """Hooks of TransformerLens around whole forward passes."""

    name = "TransformerLens hooks"

    def __init__(self, bench: Bench, pairs: Pairs, senders: list[Head], receivers: list[Head]):
        self.bench, self.pairs, self.senders, self.receivers = bench, pairs, senders, receivers
        layers = range(bench.shapes.n_layers)
        self._names = [f"blocks.{layer}.attn.hook_z" for layer in layers]
        self._names += [f"blocks.{layer}.hook_mlp_out" for layer in layers]

    @torch.no_grad()
    def run(self) -> Timing:
        began = now()
        clean = self._cache(self.pairs.base, self._names)
        sent = {f"blocks.{layer}.attn.hook_z" for layer, _ in self.senders}
        source = self._cache(self.pairs.source, sorted(sent))
        output = torch.stack([self._path(clean, source, *sender) for sender in self.senders])
        return Timing(now() - began, output)

    def _cache(self, tokens: Tensor, names: list[str]) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(x: Tensor, hook: Any) -> None:
                kept[name] = x.clone()

            return hook

        hooks = [(name, keep(name)) for name in names]
        self.bench.bridge.run_with_hooks(tokens, fwd_hooks=hooks)
        return kept

    def _path(
        self, clean: dict[str, Tensor], source: dict[str, Tensor], layer: int, head: int
    ) -> Tensor:
        """Logit differences (n,)."""
        queries: dict[str, Tensor] = {}

        def hold(name: str) -> Any:
            def hook(x: Tensor, hook: Any) -> Tensor:
                held = clean[name].clone()
                if name == f"blocks.{layer}.attn.hook_z":
                    held[:, -1, head] = source[name][:, -1, head]
                return held

            return hook

        def keep(name: str) -> Any:
            def hook(x: Tensor, hook: Any) -> None:
                queries[name] = x.clone()

            return hook

        def put(name: str, receiver: int) -> Any:
            def hook(x: Tensor, hook: Any) -> Tensor:
                out = x.clone()
                out[:, -1, receiver] = queries[name][:, -1, receiver]
                return out

            return hook

        heard = [(f"blocks.{at}.attn.hook_q", receiver) for at, receiver in self.receivers]
        held = [(name, hold(name)) for name in self._names]
        kept = [(name, keep(name)) for name in {name for name, _ in heard}]
        bridge, base = self.bench.bridge, self.pairs.base
        bridge.run_with_hooks(base, fwd_hooks=[*held, *kept])
        logits = bridge.run_with_hooks(base, fwd_hooks=[(n, put(n, at)) for n, at in heard])
        return difference(logits, self.pairs.answers)
