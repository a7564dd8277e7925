"""The toy models: x -> W_out . (W_in x), one number in, one number out.

The three-neuron example of an interpretability illusion has, in an orthonormal frame e1, e2, e3,::

    w = e1 + e2        (W_in)           u = e1 + 2 e3        (W_out)

- e1 carries the feature: it is written by w and read by u.
- e2 is disconnected: it follows the input, but u . e2 = 0.
- e3 is dormant: u reads it, but w . e3 = 0, so it never moves on the data.

Patching the hidden layer along a unit vector v from source s into base b changes the output by
(v.w)(v.u)(x_s - x_b); patching it whole, by (w.u)(x_s - x_b) with w.u = 1. Along e1 that is the
whole effect. Along e2 or e3 it is none. Yet along v = (e2 + e3)/sqrt(2) it is the whole effect
again: (v.w)(v.u) = (1/sqrt(2))(2/sqrt(2)) = (e2.w)(e3.u)/2 = 1 = w.u. The patch works because it
switches on a pathway that no input uses.

- ``toy/illusion``: the frame is the three neurons themselves.
- ``toy/illusion-rotated``: the frame is R for an orthogonal R, so W1' = R W1 and W2' = W2 R^T, and
  no neuron stands for anything. R has the columns (2, 2, -1)/3, (-1, 2, 2)/3 and (2, -1, 2)/3.
- ``toy/illusion-units``: the same network with its neurons chosen to be v = (0, 1, 1),
  u = (2, 1, -1) and t = (1, -1, 1), each at length 1. Neuron v is written and read; neuron u is
  written and not read; neuron t is read and not written. So here v is a neuron, and e1 is the mix
  (sqrt 2 u + t)/sqrt 3 of two neurons.
- ``toy/two-heads``: the frame is a skip connection and two attention heads of width 1,
  e2 = (0, 1, 1)/sqrt(2) and e3 = (0, 1, -1)/sqrt(2). Both heads write the same, z = x/sqrt(2), and
  are read out as sqrt(2) z_0 - sqrt(2) z_1, so they cancel on every input. The illusory direction
  (e2 + e3)/sqrt(2) is (0, 1, 0): the whole of the first head.
- ``toy/illusion-wide``: the frame lies across 8 neurons, so |w| = sqrt(2), w.u = 1, and with a = e2
  in the kernel of W_out and b = e3 orthogonal to W_in, (a.w)(b.u) = 2 (w.u) as above. Its columns
  are those of ``_WIDE``, at length 1.

In the wide model a and b are not the projections w - (w.u)u/|u|^2 and u - (w.u)w/|w|^2. Those two
are not orthogonal to each other, and they span the same plane as w and u, where no unit vector
has the effect of the whole patch but w and u themselves: at the angles p from w and q - p from u
(q lies between w and u), cos(p) cos(q - p) = cos(q) holds only for p = 0 and p = q.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from causaldsl.diagnostics import Mistake, suggest
from causaldsl.model.shapes import ModelDims

Array = NDArray[np.float64]

# Rows are e1, e2 and e3, at right angles and of any length, so that a program can write them down.
_PLAIN = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_ROTATED = ((2, 2, -1), (-1, 2, 2), (2, -1, 2))
_WIDE = ((1, 1, 1, 1, 1, 1, 1, 1), (1, -1, 2, -2, 3, -3, 4, -4), (1, 1, -2, -2, 3, 3, -2, -2))
_UNITS = ((0, 2**0.5, 1), (3**0.5, 1, -(2**0.5)), (3**0.5, -1, 2**0.5))
_HEADS = ((1, 0, 0), (0, 1, 1), (0, 1, -1))
_FRAMES: dict[str, tuple[tuple[float, ...], ...]] = {
    "toy/illusion": _PLAIN,
    "toy/illusion-rotated": _ROTATED,
    "toy/illusion-wide": _WIDE,
    "toy/illusion-units": _UNITS,
    "toy/two-heads": _HEADS,
}
_WITH_HEADS = {"toy/two-heads": 2}

TOY_NAMES = tuple(_FRAMES)


@dataclass(frozen=True, eq=False)
class Toy:
    """A toy model: its orthonormal ``frame`` (d, 3) has the columns e1, e2, e3 of the example.

    With ``heads``, the hidden layer is a skip connection and then that many heads of width 1.
    """

    name: str
    frame: Array
    heads: int = 0

    @cached_property
    def w_in(self) -> Array:
        """W_in as (inputs, outputs): (1, d)."""
        return (self.frame @ np.array([1.0, 1.0, 0.0]))[None, :]

    @cached_property
    def w_out(self) -> Array:
        """W_out as (inputs, outputs): (d, 1)."""
        return (self.frame @ np.array([1.0, 0.0, 2.0]))[:, None]

    @cached_property
    def directions(self) -> dict[str, Array]:
        """The unit vectors (d,) that the example speaks of."""
        feature, disconnected, dormant = self.frame.T
        return {
            "feature": feature,
            "disconnected": disconnected,
            "dormant": dormant,
            "illusory": (disconnected + dormant) / np.sqrt(2.0),
        }

    @cached_property
    def shapes(self) -> ModelDims:
        """One layer, of d neurons or of heads, between one number and another; no tokens."""
        return ModelDims(
            name=self.name,
            architecture="Toy",
            n_layers=1,
            d_model=1,
            n_heads=self.heads,
            n_kv_heads=self.heads,
            d_head=1 if self.heads else 0,
            d_mlp=0 if self.heads else len(self.frame),
            d_vocab=1,
            n_ctx=1,
            gated_mlp=False,
            fingerprint=self._fingerprint(),
            text=False,
        )

    def _fingerprint(self) -> str:
        # Rounded, since the last bits of a sum may differ between machines; adding 0 unsigns -0.
        weights = np.concatenate([self.w_in.ravel(), self.w_out.ravel()]).round(9) + 0.0
        return hashlib.sha256(self.name.encode() + weights.astype("<f8").tobytes()).hexdigest()


def toy(name: str) -> Toy:
    """The toy model of this name. Raises :class:`Mistake` if there is none."""
    if name not in _FRAMES:
        raise Mistake(
            "model-absent", f"there is no toy model {name}", suggest(name, TOY_NAMES, "toy models")
        )
    rows = np.array(_FRAMES[name], dtype=np.float64)
    frame = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T
    return Toy(name, frame, _WITH_HEADS.get(name, 0))
