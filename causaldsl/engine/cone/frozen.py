"""What a frozen run takes from the clean one instead of computing it.

With c for clean values, and E the edits (engine/edits.py) made at that place, a frozen run has::

    z_h   := E(c_h)    for every head h that is held,    attn_out := c  or  N(sum_h z_h W_O[h])
    mlp   := c         or  N(W_down E(c_hidden))          where the MLP is held
    N(x)  := weight * (x - mean) * c_scale (+ bias)       where norms are held, every one
    u     := u * cap(c_u) / c_u                           with them, where logits u are capped

so the only way for a change to spread is the residual stream, and what is free. Where nothing is
edited, read or free, the clean output is added and nothing is computed at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from causaldsl.engine.transfer import placed
from causaldsl.plan.freeze import Freeze


@dataclass
class ComponentValues:
    """What frozen runs hold of a clean run, over its window, each by layer.

    ``attn_out`` and ``mlp_out`` are (n, S, d). ``z`` is (n, S, heads * d_head) and ``hidden``
    (n, S, d_mlp), at the layers where a head or a neuron may be edited or free. ``scales`` are by
    norm, ``norm1``, ``k`` or ``last``, and layer: (n, S, 1), or (n, S, heads or 1, 1) of q and k.
    """

    attn_out: dict[int, Tensor] = field(default_factory=dict)
    mlp_out: dict[int, Tensor] = field(default_factory=dict)
    z: dict[int, Tensor] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    scales: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def tables(self) -> list[dict[Any, Tensor]]:
        return [getattr(self, table.name) for table in fields(self)]


class FrozenValues:
    """The values that one frozen run holds: those of its rows, over the last S positions.

    ``rows`` are those of all arms, or (A, n) for each. Values are (1, n, S, ...) where all ``arms``
    share them, else (arms, n, S, ...). Raises ``LookupError`` for what the clean run did not keep.
    """

    def __init__(
        self,
        freeze: Freeze,
        kept: ComponentValues,
        last: Tensor,
        rows: slice | Tensor,
        size: int,
    ):
        self.freeze, self._kept, self._rows, self._size = freeze, kept, rows, size
        self._last = last

    def attn_out(self, layer: int, arms: slice) -> Tensor:
        return self._cut(self._kept.attn_out, layer, arms, "attention output")

    def mlp_out(self, layer: int, arms: slice) -> Tensor:
        return self._cut(self._kept.mlp_out, layer, arms, "MLP output")

    def z(self, layer: int, arms: slice) -> Tensor:
        return self._cut(self._kept.z, layer, arms, "heads")

    def hidden(self, layer: int, arms: slice) -> Tensor:
        return self._cut(self._kept.hidden, layer, arms, "neurons")

    def scale(self, norm: str, layer: int, arms: slice) -> Tensor:
        return self._cut(self._kept.scales, (norm, layer), arms, "norm's scale")

    def last(self) -> Tensor:
        """The clean stream (1 or A, n, d) behind the blocks at the last position."""
        if not len(self._last):
            raise LookupError("this clean run stopped before the logits")
        return of_rows(self._last, self._rows, slice(None))

    def _cut(self, table: dict[Any, Tensor], layer: Any, arms: slice, what: str) -> Tensor:
        if layer not in table:
            raise LookupError(f"the clean run kept no {what} of layer {layer}")
        kept = table[layer]
        if kept.shape[1] < self._size:
            raise LookupError(f"the clean run kept too few positions of the {what}")
        return of_rows(kept[:, kept.shape[1] - self._size :], self._rows, arms)


def of_rows(kept: Tensor, rows: slice | Tensor, arms: slice) -> Tensor:
    """The kept rows (prompts, ...) of a pass: (1, n, ...) shared by all arms, or (arms, n, ...)."""
    if isinstance(rows, Tensor):
        rows = placed(rows, kept.device)
        if rows.dim() == 2:
            return kept[rows[arms]]
    return kept[rows][None]
