"""Small models whose MLP has a known feature and a known illusion.

The last token says the class, f = +1 or -1; attention is off. With orthonormal directions e1, e2,
e3 of the hidden layer, the one MLP computes, up to the curvature of its nonlinearity::

    hidden = f (e1 + b e2) + noise          e1 e3 -> what reads the answer, e2 -> nothing
    e1 W_out = a u       e2 W_out = 0       e3 W_out = c (u cos(t) + other sin(t))

so e1 is the feature, e2 follows it but is not read, and e3 is read but does not move on the data:
(e2 + e3)/sqrt 2 is an illusion. With a = 0 the whole MLP does nothing. The rest of W_out and of the
hidden layer is random, the frame that of the first three neurons or a random one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.tiny import NAMES, PLACES, tiny_tokenizer

D_MODEL = 32
_F, _PLUS, _MINUS, _U, _OTHER, _NOISE = 0, 1, 2, 3, 4, slice(5, 11)
_CONSTANT = 3.0
_STRAIGHT = 2.5
"""Where the nonlinearity of a plain MLP is nearly straight."""


@dataclass(frozen=True)
class Planted:
    """One model: ``gated`` or plain MLP, ``hidden`` neurons, and the numbers of the equations."""

    name: str
    gated: bool
    hidden: int
    rotated: bool
    a: float = 1.0
    b: float = 1.0
    c: float = 2.0
    angle: float = 60.0
    noise: float = 0.3
    seed: int = 0


def frame(planted: Planted) -> Tensor:
    """e1, e2, e3 as columns (hidden, 3)."""
    if not planted.rotated:
        return torch.eye(planted.hidden, dtype=torch.float64)[:, :3]
    generator = torch.Generator().manual_seed(planted.seed + 1)
    drawn = torch.randn(planted.hidden, 3, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn).Q


def write_model(folder: Path, planted: Planted) -> tuple[Tensor, Tensor]:
    """Save the model as a Hugging Face folder. Gives W_in and W_out, as (inputs, outputs)."""
    folder.mkdir(parents=True)
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(planted.seed)
    vocabulary = tokenizer.get_vocab()
    w_in, w_out = _mlp(planted, generator)
    embed = torch.zeros(len(vocabulary), D_MODEL)
    embed[:, _PLUS], embed[:, _MINUS] = _CONSTANT, -_CONSTANT
    shape = embed[:, _NOISE].shape
    embed[:, _NOISE] = planted.noise * torch.randn(shape, generator=generator)
    for i, name in enumerate(NAMES):
        sign = 1 - 2 * (i % 2)
        embed[vocabulary["Ġ" + name], _F] = sign
        embed[vocabulary["Ġ" + name], _U] = 0.5 * sign
    unembed = torch.zeros_like(embed)
    unembed[vocabulary["Ġ" + PLACES[0]], _U] = 1
    unembed[vocabulary["Ġ" + PLACES[1]], _U] = -1
    model = (_llama if planted.gated else _gpt2)(planted, w_in, w_out)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(embed)
        model.get_output_embeddings().weight.copy_(unembed)
    model.save_pretrained(folder)
    return w_in, w_out


def _mlp(planted: Planted, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    e1, e2, e3 = frame(planted).T
    w_in = torch.zeros(D_MODEL, planted.hidden, dtype=torch.float64)
    w_in[_F] = 0.4 * (e1 + planted.b * e2)
    noise = 0.4 * random(_NOISE.stop - _NOISE.start, planted.hidden) / planted.hidden**0.5
    w_in[_NOISE] = noise - torch.outer(noise @ e3, e3)
    w_out = random(planted.hidden, D_MODEL) / D_MODEL**0.5
    planes = torch.stack([e1, e2, e3])
    w_out -= planes.T @ (planes @ w_out)
    w_out[:, _U] *= 0.3
    unit = torch.eye(D_MODEL, dtype=torch.float64)
    turn = torch.deg2rad(torch.tensor(planted.angle, dtype=torch.float64))
    writes = turn.cos() * unit[_U] + turn.sin() * unit[_OTHER]
    w_out += torch.outer(e1, planted.a * unit[_U]) + torch.outer(e3, planted.c * writes)
    return w_in, w_out


def _llama(planted: Planted, w_in: Tensor, w_out: Tensor) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tiny_tokenizer().get_vocab_size(),
            hidden_size=D_MODEL,
            intermediate_size=planted.hidden,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    block = model.model.layers[0]
    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.gate_proj.weight.zero_()
        block.mlp.gate_proj.weight[:, _PLUS] = 0.8
        block.mlp.up_proj.weight.copy_(w_in.T)
        block.mlp.down_proj.weight.copy_(w_out.T)
    return model


def _gpt2(planted: Planted, w_in: Tensor, w_out: Tensor) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tiny_tokenizer().get_vocab_size(),
            n_positions=16,
            n_embd=D_MODEL,
            n_layer=1,
            n_head=2,
            n_inner=planted.hidden,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    block = model.transformer.h[0]
    with torch.no_grad():
        model.transformer.wpe.weight.zero_()
        block.attn.c_proj.weight.zero_()
        block.attn.c_proj.bias.zero_()
        block.mlp.c_fc.weight.copy_(w_in)
        block.mlp.c_fc.bias.fill_(_STRAIGHT)
        block.mlp.c_proj.weight.copy_(w_out)
        block.mlp.c_proj.bias.copy_(-_STRAIGHT * w_out.sum(0))
    return model


BEGINNINGS = ["Then", "Afterwards", "When", "After", "While", "If", "So", "As"]
PEOPLE = ["man", "woman", "boy", "girl", "child"]


def write_pairs(path: Path, count: int = 40) -> None:
    """Pairs of prompts whose last words are of different classes, in both directions."""
    first, second = NAMES[::2], NAMES[1::2]
    lines = []
    for i in range(count):
        words = [first[i % len(first)], second[(i * 7 + i // len(first)) % len(second)]]
        answers = [" " + PLACES[0], " " + PLACES[1]]
        if i % 2:
            words, answers = words[::-1], answers[::-1]
        begin, who = BEGINNINGS[i % 8], PEOPLE[i // 8 % 5]  # no two pairs share a prompt
        base, source = (f"{begin} the {who} gave {word}" for word in words)
        pair = {"base": base, "source": source, "answer": answers[0], "foil": answers[1]}
        lines.append(json.dumps(pair))
    path.write_text("\n".join(lines) + "\n")


def directions(planted: Planted, w_out: Tensor) -> dict[str, tuple[Tensor, str]]:
    """Directions (hidden, k) with what is true of them: `faithful` or `illusory`."""
    e1, e2, e3 = frame(planted).T
    generator = torch.Generator().manual_seed(planted.seed + 2)

    def near(v: Tensor, amount: float) -> Tensor:
        noise = torch.randn(len(v), generator=generator, dtype=torch.float64)
        return v / v.norm() + amount * noise / noise.norm()

    def plane(v: Tensor) -> Tensor:
        noise = torch.randn(len(v), generator=generator, dtype=torch.float64)
        return torch.stack([v, noise], 1)

    def lean(degrees: float) -> Tensor:
        angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        return angle.cos() * e2 + angle.sin() * e3

    rows = torch.linalg.svd(w_out, full_matrices=False)
    seen = rows.U[:, 1e-9 * rows.S[0] < rows.S]
    found: dict[str, tuple[Tensor, str]] = {
        "illusion": (lean(45), "illusory"),
        "illusion_30": (lean(30), "illusory"),
        "illusion_noisy": (near(lean(45), 0.2), "illusory"),
        "illusion_plane": (plane(lean(45)), "illusory"),
    }
    if planted.a:
        found |= {
            "feature": (e1, "faithful"),
            "feature_noisy": (near(e1, 0.2), "faithful"),
            "feature_plane": (plane(e1), "faithful"),
            "feature_seen": (seen @ (seen.T @ e1), "faithful"),
        }
    else:
        found |= {
            "illusion_60": (lean(60), "illusory"),
            "illusion_70": (lean(70), "illusory"),
            "illusion_noisier": (near(lean(45), 0.35), "illusory"),
            "illusion_plane_60": (plane(lean(60)), "illusory"),
        }
    return {name: (v if v.dim() == 2 else v[:, None], truth) for name, (v, truth) in found.items()}


MODELS = (
    Planted("gated", gated=True, hidden=64, rotated=False),
    Planted("plain", gated=False, hidden=96, rotated=True, b=2.0, noise=0.6, seed=10),
    Planted("square", gated=True, hidden=32, rotated=True, c=1.5, angle=80, seed=20),
    Planted("silent", gated=False, hidden=64, rotated=True, a=0.0, b=1.5, seed=30),
    Planted("parallel", gated=True, hidden=48, rotated=False, angle=0.0, seed=40),
)

# Illusions that write along the same line as the feature, in a random frame: what is seen of the
# two is hardly different, or not at all.
HARD = (
    Planted("alike", gated=False, hidden=80, rotated=True, angle=0.0, seed=50),
    Planted("nearly", gated=True, hidden=128, rotated=True, b=1.5, angle=30.0, noise=1.0, seed=60),
)
