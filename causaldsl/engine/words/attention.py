"""What heads attend to: how much of it goes where, and without some of it."""

from __future__ import annotations

from functools import partial

import torch

from causaldsl.check.attention import keys_in
from causaldsl.check.pairs import PairSet
from causaldsl.engine.drawn import Drawn, sampled
from causaldsl.engine.edits import CutKeys
from causaldsl.engine.here import Here
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.registry import evaluates
from causaldsl.vocabulary.attention import Attention
from causaldsl.vocabulary.interventions import Cut


@evaluates(Cut)
def cut(here: Here[Cut]) -> PreparedEdit:
    """1 for a key that is kept, 0 for one that is cut, by query and token of each base."""
    session, site = here.session, here.at.site
    pairs: PairSet = session.graph.pairs[here.operation.input("pairs")]
    values = []
    for base in pairs.side("base"):
        keep = torch.ones(len(here.at.position.resolve(base)), base.length)
        keep[:, sorted(keys_in(here.word.keys, base))] = 0
        values.append(keep.to(session.loaded.device))
    form = session.loaded.spec.shapes.form
    assert form is not None
    assert site.layer is not None
    sink = bool(form.blocks[site.layer].attention.sinks)
    return PreparedEdit(here.at, values, None, add=True, form=partial(CutKeys, sink=sink))


@evaluates(Attention)
def attention(here: Here[Attention]) -> Drawn:
    """The mean over the bases of the share that goes to these tokens, averaged over queries."""
    shares = [
        pattern.cpu().double()[:, sorted(keys_in(here.word.to, base))].sum(-1).mean()
        for pattern, base in zip(here.activations(), here.pairs.side("base"), strict=True)
    ]
    each, bootstrap = torch.stack(shares), here.session.bootstrap(here.pairs)
    return sampled(bootstrap, float(each.mean()), lambda over: bootstrap.means([each], over)[0])
