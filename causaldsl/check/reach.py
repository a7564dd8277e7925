"""What an intervention at one site can change at another, in the model and along the prompt.

Within a block information goes from the queries, keys and values to a head's z, and on to the
residual stream; from one position to a later one it only gets through attention.
"""

from __future__ import annotations

from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.vocabulary.sites import SITES


def can_reach(changed: Place, seen: Place, pairs: PairSet, shapes: ModelDims) -> bool:
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


def _reaches_here(changed: Site, seen: Site, shapes: ModelDims) -> bool:
    """At the same position."""
    if changed == seen:
        return True
    if _of_heads(changed, seen):
        return _same_head(changed, seen, shapes)
    return changed.before(seen, shapes)


def _reaches_right(changed: Site, seen: Site, shapes: ModelDims) -> bool:
    """At a later position: keys and values have to be read there before the site is computed."""
    if changed.word.attends and _of_heads(changed, seen):
        return _same_head(changed, seen, shapes)
    layer, _ = changed.depth(shapes)
    attended = max(layer, 0) if changed.word.attends else layer + 1
    result = Site("head.z", attended, 0)
    return result.depth(shapes) <= seen.depth(shapes) and not result.beside(seen, shapes)


def _of_heads(changed: Site, seen: Site) -> bool:
    """Whether both are parts of heads of one layer, the second a result of attention."""
    result = seen.head is not None and not seen.word.receives
    return result and changed.head is not None and changed.layer == seen.layer


def _same_head(changed: Site, seen: Site, shapes: ModelDims) -> bool:
    """Whether a part of a head, or of the keys and values that it shares, comes before another."""
    assert changed.head is not None
    assert seen.head is not None
    group = shapes.n_heads // shapes.n_kv_heads if changed.word.needs == "shared" else 1
    before, reached = False, changed.word.into
    while reached:
        before |= reached == seen.kind
        reached = SITES[reached].into
    return before and changed.head == seen.head // group
