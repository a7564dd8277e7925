"""How much arithmetic a pass is: FLOPs of its matrix multiplications, two for a multiply-add.

For one prompt with S positions in the window and P to the left of it, H heads and K key-value heads
of width h, stream width d, m neurons, and V of the vocabulary's entries, a block is::

    attention   2 (S d (H + 2 K) h + 2 H h S (S + P) + S H h d)
    mlp         2 S d m (2 + gated)          from its neurons on: 2 S m d
    experts     2 S d (3 k m + E)            k of E for each token; 3 m + 1 more if one is shared
    logits      2 V d                        at the last position only

What edits, norms and softmaxes take is not counted, nor what a single position (S = 1) has of
itself, which is no matrix multiplication. A batch with prompts of different lengths pads
them, so what is computed is a little more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from causaldsl.model.families.forms import Experts
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.entries import Entry, Stage
from causaldsl.plan.freeze import Freeze
from causaldsl.plan.prefixes import Part


def tail_flops(
    shapes: ModelDims,
    entry: Entry,
    window: int,
    left: int,
    columns: int | None = None,
    last: int | None = None,
    freeze: Freeze | None = None,
    touched: Collection[Site] = (),
) -> int:
    """FLOPs of the pass of one prompt from ``entry`` up, over the last ``window`` positions.

    ``left`` positions lie before these. ``columns`` is how many logits are wanted, None for those
    of the whole vocabulary. With ``last`` the pass ends after that block, without logits. With
    ``freeze`` only what is free is computed, and what ``touched``, the sites that are edited and
    read, needs.
    """
    end = shapes.n_layers if last is None else min(last + 1, shapes.n_layers)
    changed = {site.layer for site in touched} | {entry.layer}
    plain = _block(shapes, window, left)
    total = sum(
        plain
        if freeze is None and layer not in changed
        else _changed_block(shapes, layer, entry, window, left, freeze, touched)
        for layer in range(max(entry.layer, 0), end)
    )
    if last is None or last >= shapes.n_layers:
        total += unembed_flops(shapes, columns)
    return total


def backward_flops(
    shapes: ModelDims, entry: Entry, window: int, left: int, columns: int | None = None
) -> int:
    """FLOPs of the gradients of that pass, without those of weights, which are never wanted.

    Every matrix multiplication with a weight takes one more, and those between activations two.
    For an edit in the middle of the first block this is a little too much.
    """
    blocks = shapes.n_layers - max(entry.layer, 0) - (entry.stage > Stage.INPUT)
    own = 0 if window == 1 else window
    among_own = 4 * shapes.n_heads * shapes.d_head * own * own
    return tail_flops(shapes, entry, window, left, columns) + max(blocks, 0) * among_own


def clean_flops(shapes: ModelDims, lengths: Iterable[int], last: int | None = None) -> int:
    """FLOPs of the blocks up to ``last`` (None: all) of whole prompts of these lengths."""
    blocks = shapes.n_layers if last is None else min(last + 1, shapes.n_layers)
    return sum(n * blocks * _block(shapes, length, 0) for length, n in Counter(lengths).items())


def shared_flops(shapes: ModelDims, parts: Iterable[Part], last: int | None = None) -> int:
    """The same where shared positions are computed once; attention over windows of several."""
    blocks = shapes.n_layers if last is None else min(last + 1, shapes.n_layers)
    total, attending = 0, 4 * shapes.n_heads * shapes.d_head
    for part in parts:
        total += part.positions * _block(shapes, 1, 0)
        for places in part.windows():
            size = part.own[places[0]]
            left = max(part.lengths[place] for place in places) - size
            total += attending * len(places) * size * (left + (size if size > 1 else 0))
    return blocks * total


def whole_flops(shapes: ModelDims, lengths: Iterable[int]) -> int:
    """FLOPs of whole forward passes as other tools make them, with logits at every position."""
    lengths = list(lengths)
    return clean_flops(shapes, lengths) + sum(lengths) * unembed_flops(shapes, None)


def unembed_flops(shapes: ModelDims, columns: int | None) -> int:
    """FLOPs of the logits of one position: some of them, or (None) the whole vocabulary's."""
    return 2 * shapes.d_model * (shapes.d_vocab if columns is None else columns)


def _block(shapes: ModelDims, window: int, left: int) -> int:
    attention = _attention(shapes, window, left, 0, None, set())
    return attention + _mlp(shapes, window, 0, None, set(), False)


def _changed_block(
    shapes: ModelDims,
    layer: int,
    entry: Entry,
    window: int,
    left: int,
    freeze: Freeze | None,
    touched: Collection[Site],
) -> int:
    """A block where a pass starts, or where something is held, edited or read."""
    stage = entry.stage if layer == entry.layer else Stage.INPUT
    sites = [site for site in touched if site.layer == layer]
    here = {site.word.tap for site in sites}
    total = _mlp(shapes, window, layer, freeze, here, stage == Stage.HIDDEN)
    if stage == Stage.INPUT:
        total += _attention(shapes, window, left, layer, freeze, here)
        outputs = {site.head for site in sites if site.word.written == "heads"}
        total += 2 * len(outputs) * window * shapes.d_head * shapes.d_model
    return total


def _attention(
    shapes: ModelDims, window: int, left: int, layer: int, freeze: Freeze | None, here: set[str]
) -> int:
    width, d = shapes.n_heads * shapes.d_head, shapes.d_model
    shared = shapes.n_kv_heads * shapes.d_head
    projections = {"q": window * d * width, "k": window * d * shared, "v": window * d * shared}
    own = 0 if window == 1 else window
    attends = sum(projections.values()) + 2 * width * window * (own + left)
    out = window * width * d
    heads = range(shapes.n_heads)
    if freeze is None or not all(freeze.holds_head(layer, head) for head in heads):
        return 2 * (attends + out)
    touched = here & set(projections)
    if shapes.form is not None and shapes.form.blocks[layer].attention.q.order == "grouped":
        touched = set(projections) if touched else touched  # one matrix, interleaved, for all three
    read = sum(projections[name] for name in touched)
    return 2 * (read + (out if here & {"z", "head_out"} else 0))


def _mlp(
    shapes: ModelDims,
    window: int,
    layer: int,
    freeze: Freeze | None,
    here: set[str],
    from_neurons: bool,
) -> int:
    form = shapes.mlp(layer)
    one = 2 * window * shapes.d_model * (shapes.d_mlp if form is None else form.d_hidden)
    if freeze is not None and freeze.holds_mlp(layer):
        return one if "mlp_hidden" in here else 0
    if form is not None and form.experts is not None:
        return _experts(shapes, window, form.experts)
    return one * (1 if from_neurons else 3 if shapes.gated_mlp else 2)


def _experts(shapes: ModelDims, window: int, form: Experts) -> int:
    """A router's scores, the experts of each token, and an MLP that all tokens share."""
    neurons = 3 * form.per_token * form.d_hidden + form.n
    if form.shared is not None:
        neurons += 3 * form.shared.d_hidden + 1
    return 2 * window * shapes.d_model * neurons
