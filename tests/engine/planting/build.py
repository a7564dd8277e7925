"""Small models with a component whose directions are known: what moves, and what is read.

The last token, or one before it, is a name of one of two classes, f = +1 or -1. At the planted site
the activation is, up to the curvature of norms and nonlinearities::

    x = f (e1 + b e2) + g + others + noise        e1 read, e2 not (or hardly), e3 read but dormant

with unit vectors e1, e2, ... (the frame) that are single groups of neurons, an orthonormal set that
is spread over all of them, or a set that is not even orthogonal. ``reads`` says along which lines
of the stream each is written, or how strongly the answer reads it where the site is the stream
itself. Every direction that moves has noise of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.tiny import NAMES, PLACES, tiny_tokenizer

D_MODEL, HEADS = 32, 2
D_HEAD = D_MODEL // HEADS
_BEGINNINGS = ("Then", "When", "After", "While", "If", "So", "As", "Once")
WORDS = (*NAMES, *PLACES[:2], *_BEGINNINGS, "the", "man", "gave", "it")
_F, _NOISES, _OTHERS, _LOOSE, _PLUS, _MINUS = 0, slice(1, 5), slice(5, 8), slice(8, 12), 12, 13
_OUTPUT = 14
"""From here on, axes of the stream that the component writes to."""
_CONSTANT = 3.0
_STRAIGHT = 2.5
"""Where the nonlinearity of a plain MLP is nearly straight."""
_SIZE = 0.4
FEATURE, LOST, DORMANT, RIVAL = range(4)
"""The planted directions e1, e2, e3 and g; those of other features come after them."""
STREAM = ("resid_post", "attn_out", "mlp_out")


@dataclass(frozen=True)
class Spec:
    """One model. ``reads`` are by planted direction: along which line, how strongly."""

    kind: str
    seed: int
    family: str
    layers: int
    layer: int
    site: str
    width: int
    style: str
    b: float
    noise: float
    reads: tuple[dict[str, float], ...]
    rival: float = 0.0
    dormant: float = 0.02
    direct: float = 0.5
    late: float = 0.0
    classes: bool = True
    background: float = 0.05
    together: bool = False
    """Whether e2 has the noise of e1, so that the two never part."""
    copies: bool = False
    """Whether a stream that is planted also carries what the planted directions were made from."""

    @property
    def place(self) -> tuple[str, int, int | None]:
        return self.site, self.layer, 0 if self.site == "head.z" else None

    @property
    def written(self) -> str:
        """The site as a program names it."""
        where = f"head[{self.layer}.0].z" if self.site == "head.z" else f"{self.site}[{self.layer}]"
        return f"{where} @ END"

    @property
    def before(self) -> bool:
        """Whether the name stands before the last token, so that attention must carry it."""
        return self.site in ("attn_out", "head.z")


LINES = ("u", "v", "x", "y", "w", "t")
"""Lines of the stream: the answer reads u and v, a later MLP x, nothing the others."""


@dataclass(frozen=True)
class Built:
    """A model with what was planted: the frame (width, k), and groups of neurons if it has any."""

    spec: Spec
    module: Any
    frame: Tensor
    groups: tuple[Tensor, ...]


def build(spec: Spec) -> Built:
    """The model, in memory."""
    draw = torch.Generator().manual_seed(spec.seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    count = len(spec.reads)
    size = D_MODEL - _OUTPUT
    lines = torch.zeros(D_MODEL, size, dtype=torch.float64)
    lines[_OUTPUT:] = torch.linalg.qr(random(size, size)).Q
    by_name = {name: lines[:, i] for i, name in enumerate(LINES)}
    stream = spec.site in STREAM
    free = lines[:, len(LINES) :]
    frame, groups = _frame(spec, count, free.shape[1] if stream else spec.width, draw)
    answer = by_name["u"] + by_name["v"]
    if stream:
        frame = free @ frame
        strengths = torch.tensor([r.get("u", 0.0) for r in spec.reads], dtype=torch.float64)
        answer = by_name["u"] + torch.linalg.pinv(frame).T @ strengths
        late = torch.tensor([r.get("x", 0.0) for r in spec.reads], dtype=torch.float64)
        late_line = torch.linalg.pinv(frame).T @ late
    else:
        late_line = by_name["x"]
    module = _empty(spec)
    embed = _embeddings(spec, random, frame, by_name["u"])
    with torch.no_grad():
        _background(spec, module, random)
        if stream and spec.site != "resid_post":
            axes = torch.eye(spec.width, dtype=torch.float64)[:, :count]
            _component(spec, module, axes, frame.T, torch.zeros(0, 0), random)
        elif not stream:
            writes = torch.stack(
                [
                    sum(
                        (by * by_name[line] for line, by in r.items()),
                        torch.zeros(D_MODEL).double(),
                    )
                    for r in spec.reads
                ]
            )
            _component(spec, module, frame, writes, lines, random)
        if spec.late:
            _late(spec, module, late_line, by_name["u"])
        module.get_input_embeddings().weight.copy_(embed)
        unembed = torch.zeros_like(embed)
        vocabulary = _tokenizer().get_vocab()
        unembed[vocabulary["Ġ" + PLACES[0]]] = answer
        unembed[vocabulary["Ġ" + PLACES[1]]] = -answer
        module.get_output_embeddings().weight.copy_(unembed)
    return Built(spec, module.eval(), frame, groups)


def _tokenizer() -> Any:
    return tiny_tokenizer(words=WORDS)


def _frame(
    spec: Spec, count: int, width: int, draw: torch.Generator
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Unit vectors (width, count), and the neurons of each where they are groups of neurons."""
    drawn = torch.randn(width, count, generator=draw, dtype=torch.float64)
    if spec.style == "neurons":
        each = max(1, min(4, width // (count + 1)))
        order = torch.randperm(width, generator=draw)
        groups = tuple(order[i * each : (i + 1) * each] for i in range(count))
        kept = torch.zeros_like(drawn)
        for i, group in enumerate(groups):
            kept[group, i] = drawn[group, i].sign() * (0.5 + drawn[group, i].abs())
        return kept / kept.norm(dim=0), groups
    orthonormal = torch.linalg.qr(drawn).Q
    if spec.style == "rotated":
        return orthonormal, ()
    skewed = orthonormal + 0.25 * torch.randn(width, count, generator=draw).double() / width**0.5
    skewed = skewed + 0.12 * orthonormal.roll(1, 1)
    return skewed / skewed.norm(dim=0), ()


def _embeddings(spec: Spec, random: Any, frame: Tensor, u: Tensor) -> Tensor:
    tokenizer = _tokenizer()
    vocabulary = tokenizer.get_vocab()
    embed = torch.zeros(len(vocabulary), D_MODEL, dtype=torch.float64)
    embed[:, _PLUS], embed[:, _MINUS] = _CONSTANT, -_CONSTANT
    embed[:, _LOOSE] = 0.5 * random(len(vocabulary), _LOOSE.stop - _LOOSE.start)
    for i, name in enumerate(NAMES):
        row = vocabulary["Ġ" + name]
        sign = 1.0 - 2 * (i % 2)
        embed[row, _F] = sign
        embed[row, _NOISES] = random(4)
        embed[row, _OTHERS] = random(3).sign()
        embed[row] += spec.direct * sign * u
        if spec.site == "resid_post":
            embed[row] += _amounts(spec, embed[row][:_OUTPUT]) @ frame.T
            if not spec.copies:
                embed[row, : _LOOSE.start] = 0
            embed[row, _OUTPUT:] += 0.05 * random(D_MODEL - _OUTPUT)
    return embed


def _amounts(spec: Spec, axes: Tensor) -> Tensor:
    """By how much each planted direction is there, from the input axes."""
    return axes @ _reading(spec)[:_OUTPUT]


def _reading(spec: Spec) -> Tensor:
    """(d_model, k): how each planted direction follows the input axes."""
    found = torch.zeros(D_MODEL, len(spec.reads), dtype=torch.float64)
    first = _NOISES.start
    found[_F, FEATURE], found[first, FEATURE] = 1, spec.noise
    own = first if spec.together else first + 1
    found[_F, LOST], found[own, LOST] = spec.b, spec.noise * spec.b
    found[first + 2, DORMANT] = spec.dormant
    found[_F, RIVAL], found[first + 3, RIVAL] = spec.rival, spec.noise * spec.rival
    for i in range(RIVAL + 1, len(spec.reads)):
        found[_OTHERS.start + i - RIVAL - 1, i] = 0.7
    return found


def _component(
    spec: Spec, module: Any, frame: Tensor, writes: Tensor, lines: Tensor, random: Any
) -> None:
    """An MLP or a head that computes the planted directions and writes ``writes`` (k, d_model)."""
    width = len(frame)
    w_in = _SIZE * _reading(spec) @ frame.T
    rest = torch.eye(width, dtype=torch.float64) - frame @ torch.linalg.pinv(frame)
    loose = random(_LOOSE.stop - _LOOSE.start, width) / width**0.5
    w_in[_LOOSE] += _SIZE * loose @ rest
    w_out = torch.linalg.pinv(frame).T @ writes / _SIZE
    if len(lines):
        w_out += rest @ (0.3 * random(width, lines.shape[1]) / lines.shape[1] ** 0.5) @ lines.T
    block = _blocks(module)[spec.layer]
    if spec.before:
        _head(spec, block, w_in, w_out)
    else:
        _mlp(spec, block, w_in, w_out)


def _mlp(spec: Spec, block: Any, w_in: Tensor, w_out: Tensor) -> None:
    mlp = block.mlp
    if spec.family == "gpt2":
        mlp.c_fc.weight.copy_(w_in)
        mlp.c_fc.bias.fill_(_STRAIGHT)
        mlp.c_proj.weight.copy_(w_out)
        mlp.c_proj.bias.copy_(-_STRAIGHT * w_out.sum(0))
        return
    mlp.gate_proj.weight.zero_()
    mlp.gate_proj.weight[:, _PLUS] = 0.6
    mlp.up_proj.weight.copy_(w_in.T)
    mlp.down_proj.weight.copy_(w_out.T)


def _head(spec: Spec, block: Any, w_v: Tensor, w_o: Tensor) -> None:
    """One head that attends to all tokens alike, of which the name is one."""
    width, tokens = len(w_o), 4
    if spec.family == "gpt2":
        attention = block.attn
        attention.c_attn.weight.zero_()
        attention.c_attn.bias.zero_()
        attention.c_attn.weight[:, 2 * D_MODEL : 2 * D_MODEL + width] = tokens * w_v
        attention.c_proj.weight.zero_()
        attention.c_proj.weight[:width] = w_o
        return
    attention = block.self_attn
    for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
        part.weight.zero_()
    attention.v_proj.weight[:width] = tokens * w_v.T
    attention.o_proj.weight[:, :width] = w_o.T


def _late(spec: Spec, module: Any, line: Tensor, u: Tensor) -> None:
    """A neuron of the next block that reads a line and writes the answer's."""
    mlp = _blocks(module)[spec.layer + 1].mlp
    if spec.family == "gpt2":
        for part in (mlp.c_fc, mlp.c_proj):
            part.weight.zero_()
            part.bias.zero_()
        mlp.c_fc.weight[:, 0] = _SIZE * line
        mlp.c_fc.bias[0] = _STRAIGHT
        mlp.c_proj.weight[0] = spec.late * u / _SIZE
        mlp.c_proj.bias.copy_(-_STRAIGHT * mlp.c_proj.weight[0])
        return
    for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj):
        part.weight.zero_()
    mlp.gate_proj.weight[0, _PLUS] = 0.6
    mlp.up_proj.weight[0] = line
    mlp.down_proj.weight[:, 0] = spec.late * u


def _background(spec: Spec, module: Any, random: Any) -> None:
    """Small random weights in every block, and none in the planted component."""
    for name, parameter in module.named_parameters():
        if "embed" in name or "wte" in name or "lm_head" in name:
            continue
        if "wpe" in name or (parameter.dim() == 1 and name.endswith("bias")):
            parameter.zero_()
        elif parameter.dim() == 2:
            parameter.copy_(spec.background * random(*parameter.shape))
    block = _blocks(module)[spec.layer]
    out = block.attn.c_proj if spec.family == "gpt2" else block.self_attn.o_proj
    out.weight.zero_()


def _blocks(module: Any) -> Any:
    return module.transformer.h if hasattr(module, "transformer") else module.model.layers


def _empty(spec: Spec) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    vocabulary = _tokenizer().get_vocab_size()
    hidden = 64 if spec.site in ("resid_post", "attn_out", "head.z") else spec.width
    common = {"vocab_size": vocabulary, "tie_word_embeddings": False}
    common |= {"bos_token_id": 0, "eos_token_id": 0}
    if spec.family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                n_positions=16,
                n_embd=D_MODEL,
                n_layer=spec.layers,
                n_head=HEADS,
                n_inner=hidden,
                **common,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=D_MODEL,
            intermediate_size=hidden,
            num_hidden_layers=spec.layers,
            num_attention_heads=HEADS,
            max_position_embeddings=16,
            **common,
        )
    )


def prompts(spec: Spec, count: int = 40) -> list[tuple[str, str]]:
    """Base and source of every pair: names of different classes, in both directions.

    No two pairs share a prompt, so each is a unit.
    """
    first, second = NAMES[::2], NAMES[1::2]
    found = []
    for i in range(count):
        group, place = divmod(i, len(_BEGINNINGS))
        begin = _BEGINNINGS[place]
        words = [names[(7 * place + group) % len(names)] for names in (first, second)]
        if i % 2:
            words = words[::-1]
        text = f"{begin} {{}} gave it" if spec.before else f"{begin} the man gave {{}}"
        base, source = (text.format(word) for word in words)
        found.append((base, source))
    return found


def write(built: Built, folder: Path) -> None:
    """The model as a Hugging Face folder, and its pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    built.module.save_pretrained(folder)
    lines = []
    for i, (base, source) in enumerate(prompts(built.spec)):
        answers = [" " + PLACES[0], " " + PLACES[1]][:: -1 if i % 2 else 1]
        pair: dict[str, Any] = {"base": base, "source": source}
        pair |= {"answer": answers[0], "foil": answers[1]}
        if built.spec.classes:
            kinds = ["one", "two"][:: -1 if i % 2 else 1]
            pair["class"] = {"base": kinds[0], "source": kinds[1]}
        lines.append(json.dumps(pair))
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
