"""A change of features as a change of the activation that they are of.

With a the features of x, and a' those that are wanted, everything else about x stays::

    x := x + (a' - a) W_dec                        what x has beside its reconstruction stays too

so that an edit of nothing changes nothing. a is encoded from x as it is in the run, after whatever
else changed it. A transcoder's features are of what its MLP reads, and move what the MLP puts out;
their change is worked out from the clean base, so nothing before them may be changed with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.dictionaries.code import Code
from causaldsl.engine.dictionaries.load import code_of
from causaldsl.engine.edits import Edit, along
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.session import Session
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.virtual import edited


@dataclass(frozen=True)
class FeatureEdit(Edit):
    """``value`` (n, k, c) are features, or with ``steps`` what is added to them; ``columns`` (c,)
    says which, None all. ``basis`` (c, r) or gates (c,) are in their space.

    To all else it is one that adds: what it does to the activation can't be told from ``value``.
    """

    code: Code | None = None
    columns: Tensor | None = None
    steps: bool = False

    def _changed(self, x: Tensor) -> Tensor:
        assert self.code is not None
        old = upcast(x)
        value = self.value.to(old)
        if not self.steps:
            value = value - self.code.encode(old, self.columns)
        if self.basis is not None:
            value = along(value, self.basis)
        return (old + self.code.moved(old, value, self.columns)).to(x)


def features_of(session: Session, site: Site, inputs: list[Tensor]) -> list[Tensor]:
    """The features (k, c) of a site for activations (k, d_in) of what its dictionary reads."""
    assert site.dictionary is not None
    code, columns = code_of(session, site.dictionary), columns_of(site, session)
    return [code.encode(upcast(x), columns) for x in inputs]


def columns_of(site: Site, session: Session) -> Tensor | None:
    """Which features a site is; None for all."""
    return (
        None if site.numbers is None else torch.tensor(site.numbers, device=session.loaded.device)
    )


def feature_change(
    session: Session,
    at: SiteAt,
    values: list[Tensor] | Tensor,
    basis: Tensor | None,
    inputs: list[Tensor] | None = None,
    steps: bool = False,
) -> PreparedEdit:
    """The change that sets features to values (k, c), a list by pair or one for all.

    ``inputs`` (k, d_in) by pair are the clean bases' activations that a transcoder reads.
    """
    assert at.site.dictionary is not None
    code, columns = code_of(session, at.site.dictionary), columns_of(at.site, session)
    touched = _touched(values, basis, steps)
    if touched is not None:
        columns = touched if columns is None else columns[touched]
        cut = touched.cpu()
        values = (
            values[..., cut.to(values.device)]
            if isinstance(values, Tensor)
            else [value[..., cut.to(value.device)] for value in values]
        )
        basis = None if basis is None else basis[cut.to(basis.device)]
    if basis is not None and basis.shape[0] == basis.shape[1]:
        basis = None
    place = edited(at)
    form: Any = partial(FeatureEdit, code=code, columns=columns, steps=steps)
    if inputs is None:
        return PreparedEdit(place, values, basis, add=True, form=form)
    moves = []
    for row, x in enumerate(inputs):
        old = upcast(x)
        value = upcast(values if isinstance(values, Tensor) else values[row]).to(old)
        change = value.expand(len(old), -1) if steps else value - code.encode(old, columns)
        if basis is not None:
            change = along(change, basis)
        moves.append(code.moved(old, change, columns))
    return PreparedEdit(place, moves, None, add=True)


def _touched(values: list[Tensor] | Tensor, basis: Tensor | None, steps: bool) -> Tensor | None:
    """The features that can change, where these are not all: others need not be encoded."""
    if basis is not None:
        used = (basis != 0).any(1)
    elif steps and isinstance(values, Tensor):
        used = (values != 0).flatten(0, -2).any(0)
    else:
        return None
    return None if bool(used.all()) else used.nonzero()[:, 0]


def features_gradient(
    session: Session, site: Site, gradients: list[Tensor], inputs: list[Tensor]
) -> list[Tensor]:
    """Gradients (k, c) with respect to features, from those (k, d_out) of what they write.

    ``inputs`` (k, d_in) are the activations that they are of.
    """
    assert site.dictionary is not None
    code, columns = code_of(session, site.dictionary), columns_of(site, session)
    rows = (code.rows if columns is None else code.rows[columns]).cpu().double()
    sized = [
        code.sized(upcast(x).cpu().double(), gradient.cpu().double())
        for x, gradient in zip(inputs, gradients, strict=True)
    ]
    return [gradient @ rows.T for gradient in sized]
