"""What is true of a direction in a planted model, measured by hooks on the module.

Of the patch c = Q Q^T (s - b), rho is the share of the effect that is left if every coordinate in a
frame is cut to what lies between 0 and that pair's own movement in it. Dormant directions have no
movement, so their part is cut away; what is not read adds nothing. From 2/3 on the direction is
faithful, up to 1/3 illusory.

The frame is the planted one, made whole by the principal axes of what else moves. Where it is not
marked by anything in the model, which is wherever its directions are not groups of neurons, the
same weights could have been written down in another frame: x = f (e1 + e2) is one direction as well
as two. What is true must then hold in the principal axes of the movement too; else it is "between".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tests.engine.planting.build import Built, _tokenizer, prompts
from tests.oracle import in_double, logits, read
from tests.tiny import PLACES

FAITHFUL, ILLUSORY = 2 / 3, 1 / 3
_NOTHING = 0.05


@dataclass(frozen=True)
class Measured:
    """``effect`` of the patch as a share of the clean difference; ``rho`` None if it is none."""

    effect: float
    rho: float | None
    agreed: bool = True
    """Whether all frames say the same."""

    @property
    def truth(self) -> str:
        return self.planted if self.agreed else "between"

    @property
    def planted(self) -> str:
        """What is true in the planted frame alone."""
        if self.rho is None:
            return "nothing"
        return (
            "faithful"
            if self.rho >= FAITHFUL
            else "illusory"
            if self.rho <= ILLUSORY
            else "between"
        )


class Bench:
    """A planted model with its pairs, ready to be measured."""

    def __init__(self, built: Built):
        self.built, self.module = built, in_double(built.module)
        tokenizer = _tokenizer()
        self.signs = torch.tensor([1.0 - 2 * (i % 2) for i in range(len(prompts(built.spec)))])
        texts = zip(*prompts(built.spec), strict=True)
        self.base, self.source = (
            torch.tensor([tokenizer.encode(text).ids for text in side]) for side in texts
        )
        vocabulary = tokenizer.get_vocab()
        self.columns = [vocabulary["Ġ" + place] for place in PLACES[:2]]
        place = built.spec.place
        self.x = read(self.module, self.base, place)[:, -1]
        self.moves = read(self.module, self.source, place)[:, -1] - self.x
        self.clean = self.answers(torch.zeros_like(self.x))
        self.frames = [_completed(built.frame, self.moves)]
        if built.spec.style == "trained" and built.spec.site == "mlp_hidden":
            self.frames.append(torch.eye(self.x.shape[1], dtype=torch.float64))
        elif not built.groups:
            self.frames.append(_completed(built.frame[:, :0], self.moves))

    def answers(self, added: Tensor) -> Tensor:
        """The bases' logit differences (n,) with moves (n, d) added at the site."""

        def change(x: Tensor) -> Tensor:
            x = x.clone()
            x[:, -1] += added
            return x

        with torch.no_grad():
            found = logits(self.module, self.base, [(self.built.spec.place, change)])
        return (found[:, self.columns[0]] - found[:, self.columns[1]]) * self.signs

    def effect(self, added: Tensor) -> float:
        return float((self.clean - self.answers(added)).mean() / self.clean.mean())

    def measure(self, vectors: Tensor) -> Measured:
        """What is true of a subspace (d, k), in the planted frame and in all."""
        found = [self._measure(vectors, frame) for frame in self.frames]
        return replace(found[0], agreed=len({one.truth for one in found}) == 1)

    def _measure(self, vectors: Tensor, frame: Tensor) -> Measured:
        q = torch.linalg.svd(vectors, full_matrices=False).U
        patch = self.moves @ q @ q.T
        whole = self.effect(patch)
        if whole < _NOTHING:
            return Measured(whole, None)
        inverse = torch.linalg.inv(frame).T
        amounts, natural = patch @ inverse, self.moves @ inverse
        cut = amounts.clamp(natural.clamp(max=0), natural.clamp(min=0))
        return Measured(whole, self.effect(cut @ frame.T) / whole)

    def certificate(self) -> list[dict[str, float]]:
        """By planted direction: how far it moves, and what moving it as far as e1 moves does."""
        natural = self.moves @ torch.linalg.pinv(self.built.frame).T
        size = natural.square().mean(0).sqrt()
        unit = float(size[0]) * natural[:, 0].sign()
        return [
            {"moves": float(size[k]), "reads": self.effect(unit[:, None] * self.built.frame[:, k])}
            for k in range(self.built.frame.shape[1])
        ]


def _completed(frame: Tensor, moves: Tensor) -> Tensor:
    """The frame with the principal axes of the moves at right angles to it, (d, d)."""
    q = torch.linalg.qr(frame, mode="complete").Q[:, frame.shape[1] :]
    axes = torch.linalg.svd(moves @ q, full_matrices=True).Vh.T
    return torch.cat([frame, q @ axes], 1)
