"""Writes that take more than one hook: to a head's output, and to the middle of a block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.edits import Edit, gather, scatter
from causaldsl.model.sites import Site


class HeadOut:
    """head.out of one layer: measured where z is seen, added where the heads have been summed."""

    def __init__(self, W_O: Tensor, edits: Sequence[Edit]):
        self.W_O, self.edits = W_O, edits
        self._changes: dict[Site, Tensor] = {}

    def measure(self, z: Tensor) -> None:
        for site in dict.fromkeys(edit.site for edit in self.edits):
            old = y = z[:, :, site.head] @ self.W_O[site.head]
            for edit in self.edits:
                if edit.site == site:
                    y = scatter(y, edit.positions, edit.apply(gather(y, edit.positions)))
            self._changes[site] = y - old

    def change(self, z: Tensor, site: Site) -> Tensor:
        """How far the edits move this head's output; zero for a head without one."""
        none = z.new_zeros(*z.shape[:2], self.W_O.shape[-1])
        return self._changes.get(site, none)

    def add(self, total: Tensor) -> Tensor:
        return total + torch.stack(list(self._changes.values())).sum(0)


class ResidMid:
    """resid_mid of one layer, written through attn_out and checked where the norm sees it."""

    def __init__(self, edits: Sequence[Edit]):
        self._edits = edits
        self._pre = self._mid = torch.empty(0)

    def capture(self, beside: Tensor) -> None:
        """What goes past attention: resid_pre, or its norm."""
        self._pre = beside

    def write(self, attn_out: Tensor) -> Tensor:
        mid = self._pre + attn_out
        for edit in self._edits:
            mid = scatter(mid, edit.positions, edit.apply(gather(mid, edit.positions)))
        self._mid = mid
        return mid - self._pre

    def check(self, seen: Tensor) -> None:
        """A block that normalises attn_out before adding it can't be served this way.

        Nor can one that scales it, where nothing should be left: of what cancels a rounding error
        stays behind, which the norm makes as large as any activation.
        """
        wanted = self._mid.detach()
        if bool(((wanted == 0).all(-1) & (seen.detach() != 0).any(-1)).any()):
            raise RunFailure(
                f"{self._edits[0].site} of this model can't be set to exactly 0 by hooks: its "
                "blocks scale attn_out",
                "take the cone backend",
            )
        size = max(wanted.abs().max(), self._pre.detach().abs().max())  # it may be set to 0
        if (seen.detach() - wanted).abs().max() > 1e-2 * size:
            raise RunFailure(
                f"{self._edits[0].site} is not resid_pre + attn_out in this model",
                "edit resid_pre or resid_post instead",
            )
