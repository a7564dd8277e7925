"""A random MLP in families that keep their matrices in other ways than Llama and GPT-2."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.random_mlp import random_mlp
from causaldsl.model.sites import Site
from tests.families import oracle
from tests.families.arms import At, Batch
from tests.families.bench import CLOSE, bench

TEXT = "measure m on flip.test { a = patch random_mlp(1, seed: 1) @ END  report logit_diff }\n"


@pytest.mark.parametrize(
    ("name", "act"), [("bloom", partial(F.gelu, approximate="tanh")), ("falcon", F.gelu)]
)
@torch.no_grad()
def test_equations(name: str, act: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    one = bench(tmp_path, name)
    ran = one.run(TEXT, "cone")
    fake, reference = random_mlp(ran.session, Site("random_mlp", 1, seed=1)), one.reference(ran)
    into, out = At("mlp_in", 1), At("mlp_out", 1)

    def hidden(batch: Batch, side: str) -> Tensor:
        return act(reference.activation(batch, into, side) @ fake.w_in + fake.b_in)

    def mean_norm(of_batch: Callable[[Batch], Tensor]) -> Tensor:
        return torch.stack(reference.by_pair(of_batch)).norm(dim=-1).mean()

    real = mean_norm(lambda batch: reference.activation(batch, out, "base"))
    made = mean_norm(lambda batch: hidden(batch, "base") @ fake.w_out + fake.b_out)

    def logits(batch: Batch) -> Tensor:
        change = real / made * (hidden(batch, "source") - hidden(batch, "base")) @ fake.w_out
        edit = oracle.put(batch.at(out.where), change, add=True)
        return oracle.logits(one.model, batch.base, [(out.place, edit)])

    wanted = reference.logit_diff(torch.stack(reference.by_pair(logits)))
    clean = ran.arm("m", "clean")[0]["logit_diff"]
    assert (ran.arm("m", "a")[0]["logit_diff"] - wanted).abs().max() < CLOSE
    assert (wanted - clean).abs().max() > 1e-6
