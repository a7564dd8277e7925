"""Bytes: what a budget allows, and what clean runs keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from causaldsl.check.pairs import Prompt
from causaldsl.diagnostics import Mistake
from causaldsl.graph.operations import SiteAt
from causaldsl.model.families.forms import Block
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.chunks import CONE_TOKENS, MOST_POSITIONS
from causaldsl.plan.entries import Entry, Stage, entry_of
from causaldsl.plan.needs import Needs

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number, by dtype."""
_TOKEN = 8
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LARGEST_DEFAULT = 2**30
_SCORED = 512
"""Tokens of a prompt for which room for attention's scores is counted."""


def parse_bytes(text: str) -> int:
    """A size as it is written on the command line, in bytes: units are powers of 1024.

    >>> parse_bytes("4G"), parse_bytes("1.5 MiB"), parse_bytes("800m")
    (4294967296, 1572864, 838860800)

    Raises:
        Mistake: if it is not a size, or none at all.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * 1024 ** _UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise Mistake("bad-size", f"{text!r} is not an amount of memory", "write 800M or 4G")
    return size


def default_budget(free: int, shared: bool = True) -> int:
    """How many of ``free`` bytes a run may keep beside the model: an eighth.

    Of memory that is ``shared`` with all that a machine does, 1 GiB at most.
    """
    return min(free // 8, _LARGEST_DEFAULT) if shared else free // 8


def positions_at_once(shapes: ModelDims, dtype: str, free: int) -> int:
    """How many positions may go through the cone of a device of its own together.

    What a block holds of them at a time takes a sixteenth of the free memory.
    """
    heads = shapes.n_heads * (4 * shapes.d_head + 2 * _SCORED)
    numbers = 8 * shapes.d_model + 4 * shapes.d_mlp + heads
    return min(MOST_POSITIONS, max(CONE_TOKENS, free // 16 // (numbers * BYTES[dtype])))


def room(budget: int) -> int:
    """How much of a budget is for clean runs that stay in memory: three quarters."""
    return budget - budget // 4


def at_once(budget: int) -> int:
    """How much of a budget one group of prompts may keep, of a run that has no room as a whole.

    While it is made, or brought back from a file, there is more of it for a while.
    """
    return budget // 16


def chunk_rows(bytes_per_pair: int, budget: int) -> int:
    """How many pairs fit into a budget of bytes together; at least one."""
    return max(1, budget // max(1, bytes_per_pair))


@dataclass(frozen=True)
class Kept:
    """What a clean run on the cone keeps of its prompts, in bytes."""

    tokens: int = 0
    reads: int = 0
    streams: int = 0
    """The residual stream where edited runs start, over the window."""
    neurons: int = 0
    keys_values: int = 0
    """Left of the window, of the layers that an edited run computes."""
    held: int = 0
    """The outputs and scales that frozen runs hold."""
    last: int = 0
    """The last block's output at the last position."""

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))


def kept(needs: Needs, shapes: ModelDims, prompts: Sequence[Prompt], dtype: str) -> Kept:
    """How many bytes a clean run on the cone keeps of these prompts, part by part.

    Prompts go together whose places have equally many positions. A run whose logits nobody uses
    stops when all is read, and keeps no output, unless edits follow.
    """
    groups = ([prompts[i] for i in group] for group in needs.groups(prompts))
    parts = [_of_group(needs, shapes, group, BYTES[dtype]) for group in groups]
    sums = {part.name: sum(getattr(p, part.name) for p in parts) for part in fields(Kept)}
    return Kept(**sums)


def _of_group(needs: Needs, shapes: ModelDims, prompts: list[Prompt], number: int) -> Kept:
    n, longest = len(prompts), max(prompt.length for prompt in prompts)
    window = window_of(needs.edits, prompts)
    entries = {entry_of(at.site, shapes.n_layers) for at in needs.edits}
    streams = sum(entry.layer >= 0 for entry in entries | _before_parallel(entries, shapes))
    neurons = sum(entry.stage == Stage.HIDDEN for entry in entries)
    lefts = _lefts(needs, shapes, prompts)
    whole = needs.whole or any(at.site.word.part == "output" for at in needs.reads)
    read = sum(
        len(at.position.resolve(prompts[0]))
        * (longest if at.site.is_pattern else at.site.width(shapes) or 0)
        for at in needs.reads
    )
    return Kept(
        tokens=n * longest * _TOKEN,
        reads=n * read * number,
        streams=n * window * streams * shapes.d_model * number,
        neurons=n * window * neurons * shapes.d_mlp * number,
        keys_values=2 * n * sum(lefts.values()) * shapes.n_kv_heads * shapes.d_head * number,
        held=n * window * _held(entries, shapes) * number if needs.frozen and entries else 0,
        last=n * shapes.d_model * number if whole else 0,
    )


def window_of(places: Iterable[SiteAt], prompts: Sequence[Prompt]) -> int:
    """How many positions, counted from the prompts' ends, hold all places; at least the last."""
    named = dict.fromkeys(at.position for at in places)
    return max((p.length - min(at.resolve(p)) for at in named for p in prompts), default=1)


def _lefts(needs: Needs, shapes: ModelDims, prompts: list[Prompt]) -> dict[int, int]:
    """For each layer, how many positions an edited run may find to the left of its window."""
    lefts: dict[int, int] = {}
    named = dict.fromkeys(at.position for at in needs.edits)
    most = {place: max(min(place.resolve(prompt)) for prompt in prompts) for place in named}
    for at in needs.edits:
        entry, left = entry_of(at.site, shapes.n_layers), most[at.position]
        attends = entry.layer + (entry.stage > Stage.INPUT)
        for layer in range(max(attends, 0), shapes.n_layers):
            lefts[layer] = max(lefts.get(layer, 0), left)
    return lefts


def _before_parallel(entries: set[Entry], shapes: ModelDims) -> set[Entry]:
    """What the MLP of a parallel block reads, where a pass starts behind its attention."""
    inside = [entry.layer for entry in entries if entry.stage == Stage.MID and shapes.parallel]
    return {Entry(layer) for layer in inside}


def _held(entries: set[Entry], shapes: ModelDims) -> int:
    """Numbers for each position: both outputs and norms' scales of all layers from the first
    entry on, z at the layers of entries, and the scales of the norms before and behind them."""
    first = min(entries).layer
    heads = len({entry.layer for entry in entries if 0 <= entry.layer < shapes.n_layers})
    held = heads * shapes.n_heads * shapes.d_head + 1
    if shapes.form is None:
        return held + max(shapes.n_layers - max(first, 0), 0) * (2 * shapes.d_model + 2)
    held -= shapes.form.last_norm is None
    held += shapes.form.embed_norm is not None and first < 0
    blocks = shapes.form.blocks[max(first, 0) :]
    return held + sum(2 * shapes.d_model + _scales(block) for block in blocks)


def _scales(block: Block) -> int:
    """How many numbers scale a position in the norms of a block."""
    attention = block.attention
    of_heads = ((attention.q_norm, attention.n_heads), (attention.k_norm, attention.n_kv_heads))
    by_head = (1 if n.over == "projection" else heads for n, heads in of_heads if n is not None)
    return len(block.placed) + sum(by_head)
