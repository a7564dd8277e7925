"""A random MLP beside a real one: would DAS find a direction in anything?

It reads what the real MLP of its layer reads, x after the layer norm, and has its shape::

    h(x) = act(x W_in + b_in)                          plain
    h(x) = act(x W_gate + b_gate) * (x W_in + b_in)    gated
    m(x) = s (h(x) W_out + b_out)

with normally distributed entries, each matrix and bias with the standard deviation of the real one
(a bias only where the real MLP has one), and s such that the mean norm of m(x) over the bases is
that of the real MLP's output. Its own output is not part of the model. Changing its hidden layer
from h to h' adds the difference of its outputs, s (h' - h) W_out, to the real output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.edits import Edit, along
from causaldsl.engine.session import Session
from causaldsl.engine.upcast import upcast
from causaldsl.engine.weights.matrices import bias, matrix
from causaldsl.engine.weights.nonlinearities import Activation, activation
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.virtual import edited, read_for


@dataclass(frozen=True)
class RandomMlp:
    """Weights as (inputs, outputs); ``gate`` is None for a plain MLP."""

    act: Activation
    w_in: Tensor
    b_in: Tensor
    w_out: Tensor
    b_out: Tensor
    gate: tuple[Tensor, Tensor] | None = None

    def hidden(self, x: Tensor) -> Tensor:
        """Activations (..., d_mlp) for inputs (..., d_model)."""
        inner = x @ self.w_in + self.b_in
        if self.gate is None:
            return self.act(inner)
        return self.act(x @ self.gate[0] + self.gate[1]) * inner

    def out(self, hidden: Tensor) -> Tensor:
        return hidden @ self.w_out + self.b_out


def random_mlp(session: Session, site: Site) -> RandomMlp:
    """The random MLP that a site names, not yet scaled."""
    return session.cached(f"weights of {site}", lambda: _draw(session, site))


def scale(session: Session, clean: str, backend: str, at: SiteAt) -> float:
    """s: mean norm of the real MLP's output over a clean run, by that of the random one's."""
    return session.cached(f"scale of {at} on {clean}", lambda: _scale(session, clean, backend, at))


def write(
    session: Session,
    base: str,
    backend: str,
    at: SiteAt,
) -> Callable[[Tensor, Tensor, Tensor, Tensor | None], Edit]:
    """A function that sets the hidden layer: it makes the edit of the model.

    It takes the bases' activations and the values to set, both (n, k, d_mlp), their positions
    (n, k), and a basis (d_mlp, r), gates (d_mlp,), or None for the whole layer.
    """
    mlp, size = random_mlp(session, at.site), scale(session, base, backend, at)
    site = edited(at).site

    def edit(hidden: Tensor, values: Tensor, positions: Tensor, basis: Tensor | None) -> Edit:
        change, w_out = upcast(values) - upcast(hidden), upcast(mlp.w_out)
        if basis is None:
            moved = change @ w_out
        elif basis.dim() == 1:
            moved = along(change, basis) @ w_out
        else:
            basis = basis.to(change)
            moved = (change @ basis) @ (basis.T @ w_out)
        return Edit(site, positions, size * moved, add=True)

    return edit


def _scale(session: Session, clean: str, backend: str, at: SiteAt) -> float:
    mlp = random_mlp(session, at.site)
    inputs, outputs = (torch.cat(session.recorded(clean, backend, place)) for place in read_for(at))
    made = mlp.out(mlp.hidden(inputs))
    return float(upcast(outputs).norm(dim=-1).mean() / upcast(made).norm(dim=-1).mean())


def _draw(session: Session, site: Site) -> RandomMlp:
    loaded, layer = session.loaded, site.layer
    assert site.seed is not None
    assert layer is not None
    generator = session.generator(site.seed, "random mlp", str(layer))

    def like(real: Tensor) -> Tensor:
        drawn = torch.randn(real.shape, generator=generator, dtype=torch.float64)
        return (drawn * real.cpu().double().std()).to(real)

    def weights(name: str) -> tuple[Tensor, Tensor]:
        real, shift = matrix(loaded, name, layer), bias(loaded, name, layer)
        return like(real), real.new_zeros(real.shape[1]) if shift is None else like(shift)

    mlp = loaded.spec.shapes.mlp(layer)
    assert mlp is not None
    gate = weights("W_gate") if mlp.gate is not None else None
    return RandomMlp(activation(mlp.act), *weights("W_in"), *weights("W_out"), gate)
