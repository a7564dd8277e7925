"""MLPs: one for all tokens, or a mixture of experts that is put together anew for each.

With E experts, a router r and W the experts that it gives the largest scores, a mixture is::

    y = sum_e in W  p_e expert_e(x)  [+ sigmoid(x w) shared(x)],    p = softmax(r(x))

over all experts, or over those in W. Only the experts that some token is sent to are computed, on
their own tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.upcast import upcast

Neurons = Callable[[Tensor, Tensor], Tensor]
"""An expert's neurons, of its gate and the other half."""


@dataclass(frozen=True)
class MLP:
    """``gate`` is None for a plain MLP."""

    up: Linear
    down: Linear
    act: Callable[[Tensor], Tensor]
    gate: Linear | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons after the nonlinearity."""
        if self.gate is None:
            return self.act(self.up(x))
        return self.act(self.gate(x)) * self.up(x)

    def linears(self) -> tuple[Linear, ...]:
        return (self.up, self.down) if self.gate is None else (self.gate, self.up, self.down)


@dataclass(frozen=True, eq=False)
class Stacked:
    """A linear map for each expert: ``weight`` (E, outputs, inputs), ``bias`` (E, outputs)."""

    weight: Tensor
    bias: Tensor | None = None

    def of(self, expert: int) -> Linear:
        return Linear(self.weight[expert], None if self.bias is None else self.bias[expert])


@dataclass(frozen=True, eq=False)
class Router:
    """Which experts a token goes to, and how much each counts.

    The softmax is over the scores of all experts, and with ``renormalised`` the weights of the
    chosen ones add up to 1; with ``among_chosen`` it is over their scores alone.
    """

    linear: Linear
    per_token: int
    among_chosen: bool
    renormalised: bool

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and experts (tokens, per_token) for x (tokens, d)."""
        scores = self.linear(x)
        if self.among_chosen:
            best, chosen = scores.topk(self.per_token, dim=-1)
            return best.softmax(-1), chosen
        weights, chosen = upcast(scores).softmax(-1).topk(self.per_token, dim=-1)
        if self.renormalised:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.to(x.dtype), chosen


@dataclass(frozen=True, eq=False)
class Experts:
    """A mixture. ``gate_up`` holds both halves of each expert's first matrix, one after the other,
    or with ``interleaved`` row by row. ``shared`` is an MLP for every token, and its gate."""

    router: Router
    gate_up: Stacked
    down: Stacked
    neurons: Neurons
    interleaved: bool = False
    shared: tuple[MLP, Linear] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        weights, chosen = self.router(tokens)
        out = torch.zeros_like(tokens)
        for expert in chosen.unique().tolist():
            token, slot = torch.where(chosen == expert)
            found = self._expert(expert, tokens[token]) * weights[token, slot, None]
            out = out.index_add(0, token, found)
        if self.shared is not None:
            mlp, gate = self.shared
            out = out + torch.sigmoid(gate(tokens)) * mlp(tokens)
        return out.view(x.shape)

    def linears(self) -> tuple[Linear, ...]:
        """The matrices that see every token."""
        return () if self.shared is None else self.shared[0].linears()

    def _expert(self, expert: int, x: Tensor) -> Tensor:
        both = self.gate_up.of(expert)(x)
        if self.interleaved:
            gate, up = both[..., ::2], both[..., 1::2]
        else:
            gate, up = both.chunk(2, dim=-1)
        return self.down.of(expert)(self.neurons(gate, up))


def gated(act: Callable[[Tensor], Tensor]) -> Neurons:
    """act(gate) * up."""
    return lambda gate, up: act(gate) * up


def clipped_swiglu(limit: float, alpha: float) -> Neurons:
    """(clip(up) + 1) * g sigmoid(alpha g) with g = min(gate, limit), as in GPT-OSS."""

    def neurons(gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
        return (up + 1) * gate * torch.sigmoid(alpha * gate)

    return neurons
