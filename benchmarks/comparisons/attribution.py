"""Attribution patching of every head at all positions: gradients times changes, one way back.

Theirs is the loop that tutorials write with TransformerLens: z of the sources cached, a forward
pass of the bases that keeps z, and its gradient. (EAP-IG's own code, github.com/hannamw/EAP-IG, is
in no package, and makes its tensors on CUDA, so that it can't be run on a CPU.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from bench import Bench
from common import Pairs
from product import Ours
from torch import Tensor
from turns import Comparison, Side, Timing, now

from comparisons.sweeps import difference


def attribution(bench: Bench) -> Comparison:
    pairs, shapes = bench.pairs(bench.sizes.sweep), bench.shapes
    body = "attribution a to logit_diff on p { over heads }"
    program = bench.program("attribution", pairs, body)
    facts = {
        "pairs": len(pairs),
        "tokens": pairs.base.shape[1],
        "arms": shapes.n_layers * shapes.n_heads,
        "check_s": round(program.check, 4),
        "compile_s": round(program.compile, 4),
    }
    ours = Ours(bench.product, program, output=_estimates)
    sides: list[Side] = [ours, _Lens(bench, pairs)]
    about = f"attribution patching of {facts['arms']} heads at all positions, {len(pairs)} pairs"
    return Comparison("attribution", about, sides, facts)


def _estimates(session: Any) -> Tensor:
    found: Tensor = session.values[session.graph.key_of("a")].estimates
    return found.T


@dataclass
class _Lens:
    """One backward pass with hooks at every layer's z."""

    bench: Bench
    pairs: Pairs
    name: str = "TransformerLens"

    def run(self) -> Timing:
        began = now()
        output = self._estimates()
        return Timing(now() - began, output)

    def _estimates(self) -> Tensor:
        bridge, n_layers = self.bench.bridge, self.bench.shapes.n_layers
        names = [f"blocks.{layer}.attn.hook_z" for layer in range(n_layers)]
        with torch.no_grad():
            _, cache = bridge.run_with_cache(self.pairs.source, names_filter=lambda n: n in names)
        seen: dict[str, Tensor] = {}

        def begin(x: Tensor, hook: Any) -> Tensor:
            return x.detach().requires_grad_()

        def keep(name: str) -> Any:
            def hooked(x: Tensor, hook: Any) -> Tensor:
                seen[name] = x  # a view of what goes on, so that this has to go on in its place
                return x

            return hooked

        hooks = [("hook_embed", begin), *((name, keep(name)) for name in names)]
        with torch.enable_grad():
            logits = bridge.run_with_hooks(self.pairs.base, fwd_hooks=hooks)
            total = difference(logits, self.pairs.answers).sum()
            gradients = torch.autograd.grad(total, [seen[name] for name in names])
        found = [
            ((cache[name] - seen[name].detach()) * gradient).sum((1, 3)).T
            for name, gradient in zip(names, gradients, strict=True)
        ]
        return torch.cat(found)
