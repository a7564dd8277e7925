"""The upper blocks at the last position, with their gradient written out: what training runs.

A step of DAS at an END site is these blocks, forward and backward, a few dozen rows at a time, so
what is not a large multiplication counts: here matrices that read the same input are one, norms'
weights and the scale of attention are folded into them, and nothing is remembered for the way back
that is not used. For one block, with rows x, s(x) = 1 / sqrt(mean(x^2) + eps), R the rotation::

    [q, k, v] = (x s(x)) W_1^T + b_1,    q, k := R q, R k
    a = softmax([q K_P^T, q k]),         z = a_P V_P + a_own v,        m = x + z W_O^T
    [g, u] = (m s(m)) W_2^T + b_2,       y = m + (silu(g) u) W_down^T

K_P and V_P, of positions to the left, and all weights are constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.cone.attention import attend_stacked, with_past
from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.cone.loss import with_gradient, with_own_gradient
from causaldsl.engine.cone.mlp import MLP
from causaldsl.engine.cone.norms import RMSNorm, behind_scale
from causaldsl.engine.cone.packing import Packing, cost
from causaldsl.engine.cone.replay import Inputs, Replays
from causaldsl.engine.cone.rotary import Turn
from causaldsl.engine.cone.weights import Block, Decoder
from causaldsl.engine.cone.window import Geometry
from causaldsl.engine.transfer import placed


class Tail:
    """The blocks from ``first`` on, for the steps of one training.

    As many as there is room for in ``packing``, which is set aside, once the unembedding has its
    own. Their matrices are copies, made as they are used.
    """

    def __init__(self, decoder: Decoder, packing: Packing):
        self.decoder, self.first = decoder, len(decoder.blocks)
        reserved, most = 0, packing.limit - cost(decoder.unembed.weight)
        while self.first > 0:
            taken = _cost(decoder.blocks[self.first - 1])
            if reserved + taken > most:
                break
            self.first, reserved = self.first - 1, reserved + taken
        packing.limit -= reserved
        self._packing = Packing(reserved)
        self._blocks: dict[int, _Block] = {}
        self.ends = decoder.norm if isinstance(decoder.norm, RMSNorm) else None
        """The last norm, if losses and their gradient can be made in one go."""
        (first_device, *more) = decoder.devices
        self.replays = Replays(self) if first_device.type == "cuda" and not more else None

    @staticmethod
    def serves(decoder: Decoder) -> bool:
        """Whether all blocks are as above."""
        return decoder.embed.dtype in (torch.float32, torch.float64) and all(
            _plain(block) and decoder.kinds[block.attention.kind].alibi is None
            for block in decoder.blocks
        )

    def forward(self, inputs: Inputs) -> tuple[Tensor, list[_Saved]]:
        """The output of blocks ``first`` to the last for x (A, n, d), and what to go back with."""
        x, saved = inputs.x, []
        for layer in range(inputs.first, len(self.decoder.blocks)):
            block = self.block(layer)
            x = placed(x, self.decoder.device(layer))
            x, kept = block.forward(x, inputs.past(layer), inputs.where[block.kind])
            saved.append(kept)
        return placed(x, self.decoder.embed.device), saved

    def backward(self, first: int, gradient: Tensor, saved: list[_Saved]) -> Tensor:
        """dL/dx for the gradient of the output; what was saved is used up."""
        for layer in reversed(range(first, first + len(saved))):
            gradient = placed(gradient, self.decoder.device(layer))
            gradient = self.block(layer).backward(gradient, saved.pop())
        return gradient

    def with_gradient(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Cross-entropy (A, n) at the targets (A, n), and each one's gradient of its row of x."""
        assert self.ends is not None
        assert inputs.targets is not None
        y, saved = self.forward(inputs)
        scale = self.ends.scale(y)
        normed = (y * scale).mul_(self.ends.weight).flatten(0, 1)
        losses, of_normed = with_gradient(normed, inputs.targets.flatten(), self.decoder.unembed)
        assert of_normed is not None
        of_y = behind_scale(of_normed.view_as(y) * self.ends.weight, y, scale)
        return losses.view(inputs.targets.shape), self.backward(inputs.first, of_y, saved)

    def block(self, layer: int) -> _Block:
        if layer not in self._blocks:
            self._blocks[layer] = _Block(self.decoder, self.decoder.blocks[layer], self._packing)
        return self._blocks[layer]

    def run(self, inputs: Inputs) -> Tensor:
        """The output (A, n, 1, d) of the last block."""
        found: Tensor = _Blocks.apply(inputs.x, self, inputs)
        return found.unsqueeze(2)

    def losses(self, inputs: Inputs) -> Tensor:
        """Cross-entropy (A, n) of the logits, at the targets (A, n)."""
        made = self.replays or self  # on a GPU both come from one graph
        return with_own_gradient(inputs.x, lambda wanted: made.with_gradient(inputs))


def _plain(block: Block) -> bool:
    """Whether a block is as above, and has nothing else."""
    attention, mlp = block.attention, block.mlp
    others = (block.post1, block.post2, block.stream1, block.stream2)
    of_scores = (attention.q_norm, attention.k_norm, attention.clip, attention.softcap)
    return (
        isinstance(block.norm1, RMSNorm)
        and isinstance(block.norm2, RMSNorm)
        and isinstance(mlp, MLP)
        and mlp.gate is not None
        and mlp.act is F.silu
        and all(part is None for part in (*others, *of_scores, attention.sinks))
        and not block.parallel
        and block.multiplier == 1.0
    )


@dataclass(frozen=True, eq=False)
class _Saved:
    """What a block's way back needs; ``weights`` are a, ``gated`` is silu(gate)."""

    x: Tensor
    s1: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    weights: Tensor
    past: tuple[Tensor, Tensor]
    turn: Turn | None
    mid: Tensor
    s2: Tensor
    gate: Tensor
    gated: Tensor
    up: Tensor


class _Block:
    """x (A, n, d); q (A, n, kv_heads, shared, d_head), k and v (A, n, kv_heads, 1, d_head)."""

    def __init__(self, decoder: Decoder, block: Block, packing: Packing):
        attention, mlp = block.attention, block.mlp
        assert isinstance(block.norm1, RMSNorm)
        assert isinstance(block.norm2, RMSNorm)
        assert isinstance(mlp, MLP)
        assert mlp.gate is not None
        self.kind = attention.kind
        self.kv_heads, self.d_head = decoder.n_kv_heads, decoder.d_head
        self.shared = decoder.n_heads // decoder.n_kv_heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        q, k, v = attention.qkv.split()
        self.qkv = _behind(block.norm1, (_scaled(q, attention.scale), k, v))
        self.gate_up = _behind(block.norm2, (mlp.gate, mlp.up))
        self.out = Linear(attention.out.weight, attention.out.bias)
        self.down = Linear(mlp.down.weight, mlp.down.bias)
        for linear in (self.qkv, self.gate_up, self.out, self.down):
            linear.pack(packing)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor], where: Geometry
    ) -> tuple[Tensor, _Saved]:
        arms, n, _ = x.shape
        heads = self.kv_heads * (self.shared + 1)
        s1 = self.norm1.scale(x)
        qkv = self.qkv(x * s1)
        qk, v = qkv.split((heads * self.d_head, self.kv_heads * self.d_head), -1)
        qk = qk.view(arms, n, heads, self.d_head)
        turn = where.turn
        if turn is not None:
            turn = turn.map(lambda table: table.squeeze(2))
            qk = turn(qk)
        q, k = qk.split((self.kv_heads * self.shared, self.kv_heads), 2)
        q = q.reshape(arms, n, self.kv_heads, self.shared, self.d_head)
        k, v = k.unsqueeze(3), v.view(arms, n, self.kv_heads, 1, self.d_head)
        z, weights = attend_stacked(q, k, v, past, where)
        mid = self.out(z.reshape(arms, n, -1)).add_(x)
        s2 = self.norm2.scale(mid)
        gate, up = self.gate_up(mid * s2).chunk(2, -1)
        gated = F.silu(gate)
        y = self.down(gated * up).add_(mid)
        return y, _Saved(x, s1, q, k, v, weights, past, turn, mid, s2, gate, gated, up)

    def backward(self, gradient: Tensor, kept: _Saved) -> Tensor:
        """dL/dx for dL/dy."""
        of_hidden = self.down.back(gradient)
        of_both = of_hidden.new_empty(*of_hidden.shape[:2], 2 * of_hidden.shape[2])
        of_gate, of_up = of_both.chunk(2, -1)
        torch.mul(of_hidden, kept.gated, out=of_up)
        torch.ops.aten.silu_backward(of_hidden.mul_(kept.up), kept.gate, grad_input=of_gate)
        of_mid = gradient + behind_scale(self.gate_up.back(of_both), kept.mid, kept.s2)
        of_qkv = self._attention_back(self.out.back(of_mid), kept)
        return of_mid.add_(behind_scale(self.qkv.back(of_qkv), kept.x, kept.s1))

    def _attention_back(self, gradient: Tensor, kept: _Saved) -> Tensor:
        """dL/d[q, k, v] (A, n, ...), of the gradient of z."""
        keys, values = kept.past
        of_z = gradient.view_as(kept.q)
        on_own = kept.weights[..., -1:]
        of_left = with_past(of_z, values.transpose(3, 4))
        of_own = (of_z * kept.v).sum(-1, keepdim=True)
        of_weights = torch.cat((of_left, of_own), -1)
        of_scores = torch.ops.aten._softmax_backward_data(
            of_weights, kept.weights, -1, of_weights.dtype
        )
        scores_own = of_scores[..., -1:]
        of_q = torch.addcmul(with_past(of_scores[..., :-1], keys), scores_own, kept.k)
        of_k, of_v = (scores_own * kept.q).sum(3), (on_own * of_z).sum(3)
        of_qk = torch.cat((of_q.flatten(2, 3), of_k), 2)
        if kept.turn is not None:
            of_qk = kept.turn.back(of_qk)
        return torch.cat((of_qk, of_v), 2).flatten(2)


def _cost(block: Block) -> int:
    """Bytes of a block's joint matrices, and of all of them rearranged."""
    *own, out = block.attention.linears()
    *both, down = block.mlp.linears()
    copied = sum(linear.weight.nbytes for linear in (*own, *both))
    return copied + sum(cost(linear.weight) for linear in (*own, *both, out, down))


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tail: Tail, inputs: Inputs) -> Tensor:
        ctx.replay = None if tail.replays is None else tail.replays.both_ways(inputs)
        if ctx.replay is not None:
            found: Tensor = ctx.replay.forward(inputs)
            return found
        ctx.tail, ctx.first = tail, inputs.first
        y, ctx.kept = tail.forward(inputs)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.replay is not None:
            return ctx.replay.backward(gradient), None, None
        return ctx.tail.backward(ctx.first, gradient, ctx.kept), None, None


def _scaled(linear: Linear, scale: float) -> Linear:
    return Linear(linear.weight * scale, None if linear.bias is None else linear.bias * scale)


def _behind(norm: RMSNorm, linears: tuple[Linear, ...]) -> Linear:
    """One matrix for several that read the same norm, with the norm's weight in it."""
    biases = [
        linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
        for linear in linears
    ]
    some = any(linear.bias is not None for linear in linears)
    weight = torch.cat([linear.weight for linear in linears]) * norm.weight
    return Linear(weight, torch.cat(biases) if some else None)
