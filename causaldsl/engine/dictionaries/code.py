"""What a dictionary computes (``model/dictionaries/form.py`` has the formulas)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.model.dictionaries.form import Form

_AT_ONCE = 2**24
"""Numbers that are encoded at once, so that many activations don't take features times as much."""
_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class Code:
    """The weights of a dictionary, of one dtype and on one device.

    ``rows`` (F, d_out) is what a unit of each feature writes. ``sizes`` (F,) multiplies h before
    the largest are chosen, where these are chosen by what they write.
    """

    form: Form
    W_enc: Tensor
    b_enc: Tensor
    rows: Tensor
    b_dec: Tensor
    threshold: Tensor | None = None
    gate: tuple[Tensor, Tensor] | None = None
    """e^r_mag and b_mag, (F,) each."""
    sizes: Tensor | None = None
    W_skip: Tensor | None = None

    def encode(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Features (..., F) of activations (..., d_in), or those in ``columns`` (c,)."""
        u = self._input(x)
        if columns is not None and self.form.by_feature:
            return self._active(u, columns)
        flat = u.flatten(0, -2)
        parts = flat.split(max(1, _AT_ONCE // self.form.features)) if len(flat) else (flat,)
        found = [self._chosen(self._active(part)) for part in parts]
        if columns is not None:
            found = [one[:, columns] for one in found]
        whole = found[0] if len(found) == 1 else torch.cat(found)
        return whole.unflatten(0, u.shape[:-1])

    def decode(self, x: Tensor, features: Tensor) -> Tensor:
        """What features (..., F) write (..., d_out), for the activation that they are of."""
        written = features @ self.rows + self.b_dec / self.form.scale
        found = self._unnormed(x)(written)
        if self.W_skip is not None:
            found = found + x @ self.W_skip
        return found

    def moved(self, x: Tensor, change: Tensor, columns: Tensor | None = None) -> Tensor:
        """How far a change of features, (..., F) or of ``columns`` (..., c), moves what is written.

        x (..., d_in) is the activation that they are of.
        """
        rows = self.rows if columns is None else self.rows[columns]
        return self.sized(x, change @ rows)

    def sized(self, x: Tensor, written: Tensor) -> Tensor:
        """A change of what is written, before the norm of x is undone, and after."""
        length = self._length(x)
        return written if length is None else written * length

    def seen(self, x: Tensor) -> Tensor:
        """The activation that it reconstructs: without its mean, if its model had none."""
        return x - x.mean(-1, keepdim=True) if self.form.centred else x

    def _input(self, x: Tensor) -> Tensor:
        u = self.seen(x) * self.form.scale
        if self.form.norm == "constant_norm":
            u = u * (self.form.d_in**0.5 / u.norm(dim=-1, keepdim=True))
        elif self.form.norm == "layer_norm":
            u = u - u.mean(-1, keepdim=True)
            u = u / (u.std(-1, keepdim=True) + _EPS)
        return u - self.b_dec if self.form.minus_bias else u

    def _length(self, x: Tensor) -> Tensor | None:
        """By how much (..., 1) the norm of x made it smaller; None where it is not undone."""
        if self.form.norm == "none" or self.form.transcoder:
            return None
        u = self.seen(x) * self.form.scale
        if self.form.norm == "constant_norm":
            return u.norm(dim=-1, keepdim=True) / self.form.d_in**0.5
        return u.std(-1, keepdim=True)

    def _unnormed(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        length = self._length(x)
        if length is None:
            return lambda written: written
        if self.form.norm == "constant_norm":
            return lambda written: written * length
        mean = self.seen(x).mean(-1, keepdim=True)
        return lambda written: written * length + mean

    def _active(self, u: Tensor, columns: Tensor | None = None) -> Tensor:
        """Features before the largest are chosen."""

        def part(weights: Tensor) -> Tensor:
            return weights if columns is None else weights[..., columns]

        h = u @ part(self.W_enc)
        if self.gate is not None:
            size, bias = self.gate
            open_ = (h + part(self.b_enc)) > 0
            return (h * part(size) + part(bias)).relu() * open_
        h = h + part(self.b_enc)
        if self.threshold is not None:
            return h.relu() * (h > part(self.threshold))
        return h.relu()

    def _chosen(self, active: Tensor) -> Tensor:
        """Only the largest of each row (n, F), where there are only so many."""
        k = self.form.k
        if self.form.activation == "topk":
            sized = active if self.sizes is None else active * self.sizes
            values, indices = sized.topk(k, dim=-1)
        elif self.form.activation == "groupmax":
            values, within = active.unflatten(-1, (k, -1)).max(-1)
            first = torch.arange(0, active.shape[-1], active.shape[-1] // k, device=active.device)
            indices = within + first
        else:
            return active
        return torch.zeros_like(active).scatter(-1, indices, values)
