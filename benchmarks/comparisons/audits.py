"""An audit without training: all its runs, against the same runs with hooks.

Ours is the whole audit: its runs, the subspaces that they use, and the evidence with its intervals.
With hooks only the patched runs are made, with the activations that ours ended up putting in, and
the clean ones: what is compared is less than an audit, and the ratio is a lower bound.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from bench import Bench
from common import Pairs
from product import Compiled, Ours
from safetensors.torch import save_file
from torch import Tensor
from turns import Comparison, Timing, now

from causaldsl.engine.bases import start
from causaldsl.engine.interpret import evaluate
from causaldsl.engine.session import Session
from causaldsl.graph.operations import PatchedRunWord
from causaldsl.model.sites import Site
from comparisons.das import last_matrix
from comparisons.sweeps import difference, hooked


def audit(bench: Bench) -> Comparison:
    sizes, site = bench.sizes, Site("mlp_hidden", bench.layer)
    pairs = bench.pairs(sizes.audit)
    width = site.width(bench.shapes)
    assert width is not None
    save_file({"basis": start(width, 1, seed=1).float()}, bench.folder / "audited.safetensors")
    body = (
        'subspace v = file("audited.safetensors")\n'
        f"audit verdict = illusion(v, at: {site} @ END, on: p, directions: {sizes.directions})"
    )
    program = bench.program("audit", pairs, body)
    hooks = _Hooks(bench, pairs, program)
    return Comparison(
        name="audit",
        about=f"an audit at {site} @ END, {len(pairs)} pairs: ours whole, with hooks only its "
        f"{len(hooks.keys)} patched runs",
        sides=[Ours(bench.product, program, output=hooks.outcomes), hooks],
        facts={
            "pairs": len(pairs),
            "tokens": pairs.base.shape[1],
            "runs": len(hooks.keys),
            "check_s": round(program.check, 4),
            "compile_s": round(program.compile, 4),
        },
    )


class _Hooks:
    """The Hugging Face module with a hook before the MLP's last matrix."""

    name = "Hugging Face with hooks"

    def __init__(self, bench: Bench, pairs: Pairs, program: Compiled):
        self.bench, self.pairs, self.program = bench, pairs, program
        graph = program.graph
        self.keys = [
            key for key in graph.order() if isinstance(graph.operation(key).word, PatchedRunWord)
        ]

    def outcomes(self, session: Session) -> Tensor:
        """(runs, n), the logit differences of ours."""
        return torch.stack([session.values[key].logit_diff for key in self.keys])

    @cached_property
    def changes(self) -> list[tuple[Tensor, Tensor | None, bool]]:
        """Of every run: what is put in (n, d), along which basis, and whether it is added."""
        session, found = self.bench.product.run(self.program)[0], []
        for key in self.keys:
            (made,) = self.program.graph.operation(key).inputs_as("do")
            (change,) = evaluate(session, [made])  # again: a session lets go of what is done
            device = self.bench.device
            values = torch.stack(change.by_pair(len(self.pairs)))[:, 0].float().to(device)
            basis = None if change.basis is None else change.basis.float().to(device)
            found.append((values, basis, change.add))
        return found

    @torch.no_grad()
    def run(self) -> Timing:
        changes, model = self.changes, self.bench.plain
        began = now()
        for tokens in (self.pairs.base, self.pairs.source):
            model(tokens, logits_to_keep=1)
        output = torch.stack([self._patched(*change) for change in changes])
        return Timing(now() - began, output)

    def _patched(self, values: Tensor, basis: Tensor | None, add: bool) -> Tensor:
        def patch(module: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
            x = given[0].clone()
            move = values if add else values - x[:, -1]
            x[:, -1] += move if basis is None else (move @ basis) @ basis.T
            return (x,)

        with hooked([(last_matrix(self.bench.plain, self.bench.layer), patch)]):
            logits = self.bench.plain(self.pairs.base, logits_to_keep=1).logits
        return difference(logits, self.pairs.answers)
