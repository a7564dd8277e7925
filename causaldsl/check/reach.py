"""What an intervention at one site can change at another, in the model and along the prompt.

Within a block information goes from the queries, keys and values to a head's z, and on to the
residual stream; from one position to a later one it only gets through attention.
"""

from __future__ import annotations

from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.stages import depth
from causaldsl.model.shapes import Shapes
from causaldsl.model.sites import Site

_INTO_HEAD = ("q", "k", "v", "z")


def can_reach(changed: Place, seen: Place, pairs: PairSet, shapes: Shapes) -> bool:
    """Whether a change at one place can be seen at another in any base. A raw hook may do anything.

    Where the order inside a block is not known for certain, the answer is yes.
    """
    if "hook" in (changed.site.kind, seen.site.kind):
        return True
    here = _reaches_here(changed.site, seen.site, shapes)
    right = shapes.text and _reaches_right(changed.site, seen.site, shapes)
    assert changed.position is not None
    assert seen.position is not None
    for pair in pairs.pairs:
        sent, read = changed.position.resolve(pair.base), seen.position.resolve(pair.base)
        if (here and set(sent) & set(read)) or (right and min(sent) < max(read)):
            return True
    return False


def _reaches_here(changed: Site, seen: Site, shapes: Shapes) -> bool:
    """At the same position."""
    if changed == seen:
        return True
    of_head = changed.head is not None and seen.kind in ("head.z", "head.out")
    if of_head and changed.layer == seen.layer:
        return _same_head(changed, seen, shapes)
    return depth(changed, shapes) < depth(seen, shapes)


def _reaches_right(changed: Site, seen: Site, shapes: Shapes) -> bool:
    """At a later position: keys and values have to be read there before the site is computed."""
    layer, step = depth(changed, shapes)
    part = changed.kind.rpartition(".")[2]
    if step > 0 and part not in ("k", "v"):
        layer += 1
    elif changed.kind == "embed":
        layer = 0
    if layer == seen.layer and part in ("k", "v") and seen.kind in ("head.z", "head.out"):
        return _same_head(changed, seen, shapes)
    return (layer, depth(Site("head.z", 0, 0), shapes)[1]) <= depth(seen, shapes)


def _same_head(changed: Site, seen: Site, shapes: Shapes) -> bool:
    """Whether a part of a head, or of the keys and values that it shares, comes before another."""
    assert changed.head is not None
    assert seen.head is not None
    group = shapes.n_heads // shapes.n_kv_heads if changed.kind.startswith("kv") else 1
    part = changed.kind.rpartition(".")[2]
    before = part in _INTO_HEAD and not (part == "z" and seen.kind == "head.z")
    return before and changed.head == seen.head // group
