"""Trains a TopK autoencoder on SmolLM2's own activations, in minutes on one thread.

    python benchmarks/train_sae.py FOLDER [--site mlp_hidden] [--layer 20] [--features 256] [--k 16]

Texts are this project's own pages and programs, and the training prompts of programs/ioi.cpatch,
whole prompts of which no test prompt is one. The folder has SAELens's layout, in half precision,
and `quality.json`: variance explained, active features and loss recovered on texts that were held
out (1 - (loss with the reconstruction - loss) / (loss with zeros - loss)).

Loss: |x - x'|^2 over the variance of x; rows of the decoder have length 1; a feature that is never
among the k largest for an epoch starts again from an activation that is explained badly.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from causaldsl.check.program import check_file
from causaldsl.model.catalog import resolve
from causaldsl.model.tokens import Tokens

ROOT = Path(__file__).parents[1]
MODEL, LENGTH = "smollm2-135m", 128
HOOKS = {"mlp_hidden": "mlp.hook_post", "resid_post": "hook_resid_post", "mlp_out": "hook_mlp_out"}


def texts(tokens: Any, most: int) -> list[list[int]]:
    """Token ids: prompts of the training pairs, and pages cut into pieces, in a seeded order."""
    program = check_file(ROOT / "programs" / "ioi.cpatch")
    train = program.families["flip"].train
    assert train is not None
    found = [list(prompt.ids) for side in ("base", "source") for prompt in train.side(side)]
    pages = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "programs").glob("*.cpatch"))]
    for page in pages:
        ids = list(tokens.encode(page.read_text(encoding="utf-8")).ids)
        found += [ids[i : i + LENGTH] for i in range(0, len(ids), LENGTH) if len(ids) - i > 8]
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()
    kept, count = [], 0
    for i in order:
        kept.append(found[i])
        count += len(found[i])
        if count >= most:
            break
    return kept


class _Seen(Exception):
    """An activation has been seen."""


class Reader:
    """The model's activations at one site, and its loss with something else put there."""

    def __init__(self, site: str, layer: int):
        spec = resolve(MODEL, ROOT)
        assert spec.path is not None
        self.tokens = Tokens.load(spec.path)
        self.module = AutoModelForCausalLM.from_pretrained(spec.path, dtype=torch.float32).eval()
        block = self.module.model.layers[layer]
        self.place, self.before = {
            "mlp_hidden": (block.mlp.down_proj, True),
            "mlp_out": (block.mlp, False),
            "resid_post": (block, False),
        }[site]

    @torch.no_grad()
    def run(self, ids: list[int], change: Callable[[Tensor], Tensor]) -> float:
        """Mean loss of the next token, with ``change`` of the site's activation (1, T, d)."""
        if self.before:
            handle = self.place.register_forward_pre_hook(lambda _, given: (change(given[0]),))
        else:
            handle = self.place.register_forward_hook(lambda _, __, out: change(out))
        try:
            row = torch.tensor([ids])
            logits = self.module(row).logits[0, :-1]
            return float(F.cross_entropy(logits, row[0, 1:]))
        finally:
            handle.remove()

    def activations(self, every: list[list[int]]) -> Tensor:
        found: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            found.append(x[0].detach().clone())
            raise _Seen  # what is behind it need not be computed

        for number, ids in enumerate(every):
            if number % 50 == 0:
                print(f"read {number} of {len(every)} texts", flush=True)
            with suppress(_Seen):
                self.run(ids, keep)
        return torch.cat(found)


class TopK(torch.nn.Module):
    def __init__(self, x: Tensor, features: int, k: int):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        rows = F.normalize(torch.randn(features, x.shape[1], generator=generator), dim=1)
        self.k = k
        self.W_dec = torch.nn.Parameter(rows)
        self.W_enc = torch.nn.Parameter(rows.T.clone())
        self.b_enc = torch.nn.Parameter(torch.zeros(features))
        self.b_dec = torch.nn.Parameter(x.mean(0))

    def encode(self, x: Tensor) -> Tensor:
        a = ((x - self.b_dec) @ self.W_enc + self.b_enc).relu()
        values, indices = a.topk(self.k, dim=-1)
        return torch.zeros_like(a).scatter(-1, indices, values)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x) @ self.W_dec + self.b_dec


def train(x: Tensor, features: int, k: int, epochs: int, batch: int = 512) -> TopK:
    """x (n, d), of mean squared length d."""
    sae, generator = TopK(x, features, k), torch.Generator().manual_seed(1)
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.Adam(sae.parameters(), lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, 3 * (1 - s / steps)))
    variance = (x - x.mean(0)).square().sum(-1).mean()
    for epoch in range(epochs):
        used, worst = torch.zeros(features), (torch.empty(0), x[:0])
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator)[: len(x) // batch * batch].split(
            batch
        ):
            some = x[rows]
            a = sae.encode(some)
            error = (some - a @ sae.W_dec - sae.b_dec).square().sum(-1)
            loss = error.mean() / variance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
                used += (a > 0).sum(0)
                total += float(loss) / (len(x) // batch)
                order = error.argsort(descending=True)[:8]
                worst = torch.cat([worst[0], error[order]]), torch.cat([worst[1], some[order]])
        dead = (used == 0).nonzero()[:, 0]
        print(f"epoch {epoch}: unexplained {total:.4f}, {len(dead)} dead", flush=True)
        if len(dead) and epoch < epochs * 2 // 3:
            revive(sae, optimizer, dead, worst)
    return sae


@torch.no_grad()
def revive(sae: TopK, optimizer: Any, dead: Tensor, worst: tuple[Tensor, Tensor]) -> None:
    order = worst[0].argsort(descending=True)[: len(dead)]
    rows = F.normalize(worst[1][order] - sae.b_dec, dim=1)
    dead = dead[: len(rows)]
    size = sae.W_enc.norm(dim=0).mean()
    sae.W_dec[dead], sae.W_enc[:, dead], sae.b_enc[dead] = rows, 0.3 * size * rows.T, 0.0
    for parameter in (sae.W_dec, sae.W_enc, sae.b_enc):
        for moment in ("exp_avg", "exp_avg_sq"):
            state = optimizer.state[parameter][moment]
            (state.T if parameter is sae.W_enc else state)[dead] = 0.0


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    began = time.time()
    reader = Reader(options.site, options.layer)
    every = texts(reader.tokens, options.tokens)
    held = every[: len(every) // 10]
    x = reader.activations(every[len(held) :])
    print(f"{len(x)} activations of {x.shape[1]} in {time.time() - began:.0f} s", flush=True)
    scale = float((x.shape[1] / x.square().sum(-1).mean()).sqrt())
    sae = train(x * scale, options.features, options.k, options.epochs)
    tensors = {
        "W_enc": sae.W_enc.detach() * scale,
        "b_enc": sae.b_enc.detach(),
        "W_dec": sae.W_dec.detach() / scale,
        "b_dec": sae.b_dec.detach() / scale,
    }
    tensors = {name: value.half().contiguous() for name, value in tensors.items()}
    quality = measure(reader, held, {n: t.float() for n, t in tensors.items()}, options.k)
    quality |= {"tokens": len(x), "seconds": round(time.time() - began)}
    write(options, tensors, x.shape[1], quality)
    print(json.dumps(quality, indent=1))


@torch.no_grad()
def measure(reader: Reader, held: list[list[int]], t: dict[str, Tensor], k: int) -> dict[str, Any]:
    """On texts that were held out, with the weights as they are kept."""

    def encode(x: Tensor) -> Tensor:
        a = ((x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
        values, indices = a.topk(k, dim=-1)
        return torch.zeros_like(a).scatter(-1, indices, values)

    def decoded(x: Tensor) -> Tensor:
        return encode(x) @ t["W_dec"] + t["b_dec"]

    x = reader.activations(held)
    a = encode(x)
    errors = (x - a @ t["W_dec"] - t["b_dec"]).square().sum()
    losses = {
        name: sum(reader.run(ids, change) * len(ids) for ids in held) / sum(map(len, held))
        for name, change in (
            ("plain", lambda x: x),
            ("reconstructed", decoded),
            ("zero", torch.zeros_like),
        )
    }
    lost = losses["reconstructed"] - losses["plain"]
    return {
        "variance_explained": round(float(1 - errors / (x - x.mean(0)).square().sum()), 4),
        "active": round(float((a > 0).sum(-1).double().mean()), 2),
        "dead": int((a.sum(0) == 0).sum()),
        "loss": {name: round(value, 4) for name, value in losses.items()},
        "loss_recovered": round(1 - lost / (losses["zero"] - losses["plain"]), 4),
        "held_out_tokens": len(x),
    }


def write(options: Any, tensors: dict[str, Tensor], width: int, quality: dict[str, Any]) -> None:
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {
        "architecture": "topk",
        "d_in": width,
        "d_sae": options.features,
        "k": options.k,
        "dtype": "float16",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "metadata": {
            "model_name": MODEL,
            "hook_name": f"blocks.{options.layer}.{HOOKS[options.site]}",
            "made_by": "benchmarks/train_sae.py",
        },
    }
    (folder / "cfg.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "quality.json").write_text(json.dumps(quality, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--site", default="mlp_hidden", choices=HOOKS)
    parser.add_argument("--layer", type=int, default=20)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
