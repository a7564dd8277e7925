"""Edits and reads inside our own forward pass.

The pass offers every activation x (A, n, S, d), or (A, n, S, heads, d_head), of some arms at the S
token positions of its window; the taps return it with each arm's edits of that place applied and
keep what is to be read. head.out is y = z W_O[h] and is never computed for its own sake: its edits
change the sum of the heads by edit(y) - y, before any norm or multiplier acts on the sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.cone.norms import Norm
from causaldsl.engine.cone.pattern import Tokens, by_head, stacked
from causaldsl.engine.edits import Edit, Read, gather, moved, scatter
from causaldsl.engine.transfer import lies_on, placed
from causaldsl.model.sites import Site
from causaldsl.plan.entries import Stage

Place = tuple[str, int]
"""A word for the activation and its layer; ("embed", -1) before the first block."""
LOGITS: Place = ("logits", -1)


def place(site: Site) -> Place:
    """Where the pass offers a site. A shared key head and a head's own key are the same place."""
    return site.word.tap, -1 if site.layer is None else site.layer


class Taps:
    """The edits of each arm and the reads of all arms, in one pass over a window.

    The window begins at ``starts`` (n,), (1,) or (A, n). ``first`` is the arm that an offered
    activation begins with. ``device`` is where activations are edited and read. ``longest`` is how
    many tokens the longest prompt of the run has: as many shares of attention are offered and read.
    """

    def __init__(
        self,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        starts: Tensor,
        device: torch.device | str = "cpu",
        longest: int = 0,
    ):
        self._found: list[list[Tensor]] = [[] for _ in reads]
        self._edits: dict[Place, list[tuple[int, Edit]]] = defaultdict(list)
        self._reads: dict[Place, list[tuple[int, Read]]] = defaultdict(list)
        # Edits and reads of one position name it by the same tensor: what is made of it is kept.
        made: dict[tuple[int, int], Tensor] = {}

        def within(positions: Tensor, begin: Tensor, key: int) -> Tensor:
            if (id(positions), key) not in made:
                made[id(positions), key] = placed(positions - begin[..., None], device)
            return made[id(positions), key]

        by_arm = starts.dim() == 2
        for arm, edits in enumerate(arms):
            begin, key = (starts[arm], arm) if by_arm else (starts, 0)
            for edit in edits:
                local = replace(edit, positions=within(edit.positions, begin, key))
                self._edits[place(edit.site)].append((arm, local))
        for index, read in enumerate(reads):
            local_read = Read(read.site, within(read.positions, starts, -1 if by_arm else 0))
            self._reads[place(read.site)].append((index, local_read))
        self._busy = {*self._edits, *self._reads}
        self._starts, self._longest = starts, longest
        self._device = torch.device(device)

    @property
    def values(self) -> list[Tensor]:
        """What was read, (A, n, k, d) each."""
        return [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in self._found]

    def touches(self, here: Place) -> bool:
        return here in self._busy

    def touches_from(self, layer: int) -> bool:
        """Whether anything in this block or above is edited or read, logits aside."""
        return any(of >= layer for _, of in self._busy)

    def touches_any(self, layer: int, *words: str) -> bool:
        return any((word, layer) in self._busy for word in words)

    def arms_at(self, layer: int, count: int, *words: str) -> slice | None:
        """A range of the first ``count`` arms with all that are edited here; a read is of all."""
        if any((word, layer) in self._reads for word in words):
            return slice(0, count)
        arms = [arm for word in words for arm, _ in self._edits.get((word, layer), ())]
        return slice(min(arms), max(arms) + 1) if arms else None

    def at(self, word: str, layer: int, x: Tensor, first: int = 0) -> Tensor:
        """The activation with the edits of this place in force, as the rest of the pass sees it."""
        here = (word, layer)
        if here not in self._busy:
            return x
        if not lies_on(x, self._device):  # of a block on another device
            return placed(Taps.at(self, word, layer, placed(x, self._device), first), x.device)
        mine = [(arm, e) for arm, e in self._edits.get(here, ()) if first <= arm < first + len(x)]
        if _alike(mine):
            x = _set_together(x, mine, first)
        elif _all_add(mine, x):
            x = _add_together(x, mine, first)
        else:
            changed: dict[int, Tensor] = {}
            for arm, edit in mine:
                old = changed.get(arm, x[arm - first])
                new = _edited(_head(old, edit.site.head), edit)
                changed[arm] = _with_head(old, edit.site.head, new)
            x = _put(x, changed, first)
        for index, read in self._reads.get(here, ()):
            self._record(index, _head(x, read.site.head), read, first)
        return x

    def heads_out(
        self, layer: int, z: Tensor, W_O: Tensor, attn_out: Tensor, first: int = 0
    ) -> Tensor:
        """The sum of the heads with the edits of single heads' outputs in force.

        ``z`` is (A, n, S, heads, d_head), ``W_O`` (d, heads * d_head).
        """
        here = ("head_out", layer)
        if here not in self._busy:
            return attn_out
        if not lies_on(z, self._device):
            here_z, here_W, here_out = (placed(each, self._device) for each in (z, W_O, attn_out))
            found = Taps.heads_out(self, layer, here_z, here_W, here_out, first)
            return placed(found, z.device)
        d_head = z.shape[-1]

        def output(head: int, arms: int | slice) -> Tensor:
            return F.linear(z[arms, ..., head, :], W_O[:, head * d_head : (head + 1) * d_head])

        outputs: dict[int, dict[int, Tensor]] = defaultdict(dict)
        changed: dict[int, Tensor] = {}
        for arm, edit in self._edits.get(here, ()):
            if first <= arm < first + len(z):
                of_head = outputs[_index(edit.site.head)]
                old = of_head.get(arm)
                old = output(_index(edit.site.head), arm - first) if old is None else old
                of_head[arm] = _edited(old, edit)
                changed[arm] = changed.get(arm, attn_out[arm - first]) + (of_head[arm] - old)
        for index, read in self._reads.get(here, ()):
            head = _index(read.site.head)
            self._record(index, _put(output(head, slice(None)), outputs[head], first), read, first)
        return _put(attn_out, changed, first)

    def offers(self, word: str, layer: int) -> bool:
        """Whether this place is worth making, where it takes work of its own."""
        return (word, layer) in self._busy

    def pattern(self, layer: int, size: int, weights: Tensor) -> Tensor:
        """Weights of attention (A, n, kv_heads, shared * S, keys) with those of heads edited."""
        by_column = by_head(weights, size)
        left = weights.shape[-1] - size
        tokens = Tokens(self._starts, left, size, weights.device)
        # Only the window of a clean run is as long as its prompts; a pass may have shorter rows.
        width = max(self._longest, left + size)
        new = self.at("pattern", layer, tokens.by_token(by_column, width))
        return stacked(tokens.by_column(new, by_column), weights.shape[2])

    # What only a clean run keeps is offered to it as well:

    def keys_values(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keys after rotation."""

    def stream(self, layer: int, stage: Stage, x: Tensor) -> None:
        """The residual stream where an edited run may start."""

    def normed(self, name: str, layer: int, norm: Norm, x: Tensor) -> None:
        """A norm and its input."""

    def _record(self, index: int, x: Tensor, read: Read, first: int) -> None:
        """Keep a read of the arms from ``first`` on; arms come in their order."""
        self._found[index].append(_gather(x, read.positions, first))


def _gather(x: Tensor, positions: Tensor, first: int) -> Tensor:
    """(A, n, S, d) at (n, k) or (all arms, n, k) token indices: (A, n, k, d)."""
    rows = torch.arange(x.shape[1], device=x.device)[:, None]
    if positions.dim() == 2:
        return x[:, rows, positions]
    arms = torch.arange(len(x), device=x.device)[:, None, None]
    return x[arms, rows[None], positions[first : first + len(x)]]


def _put(x: Tensor, changed: dict[int, Tensor], first: int) -> Tensor:
    """x with some arms replaced."""
    if not changed:
        return x
    if torch.is_grad_enabled() and any(new.requires_grad for new in changed.values()):
        return torch.stack([changed.get(first + i, x[i]) for i in range(len(x))])
    if len(x) == 1:
        return changed[first][None]
    out = x.clone()
    for arm, new in changed.items():
        out[arm - first] = new
    return out


def _alike(edits: Sequence[tuple[int, Edit]]) -> bool:
    """Whether these all put a value in, as a whole, at as many positions, and none of them where
    another one does: in arms, or in heads, of their own."""
    if len(edits) < 2 or len({(arm, edit.site.head) for arm, edit in edits}) < len(edits):
        return False
    (_, one), *_ = edits
    return all(
        not edit.add
        and edit.basis is None
        and not edit.value.requires_grad
        and edit.value.shape == one.value.shape
        and (edit.site.head is None) == (one.site.head is None)
        for _, edit in edits
    )


def _set_together(x: Tensor, edits: Sequence[tuple[int, Edit]], first: int) -> Tensor:
    """x (A, n, S, d) or (A, n, S, heads, d) with the values of many arms put in at once.

    On a GPU each single one would cost as much as all of them.
    """
    values = torch.stack([edit.value for _, edit in edits]).to(x)
    index = _index_of(x, edits, first)
    old = x[index]
    changes = moved(old, values)
    for number, (_, edit) in enumerate(edits):
        if edit.watch is not None:
            edit.watch.see(changes, number)
    return x.index_put(index, values)


def _all_add(edits: Sequence[tuple[int, Edit]], x: Tensor) -> bool:
    """Whether these all add something of one shape, and nothing is asked of them beside."""
    if len(edits) < 2 or x.dtype not in (torch.float32, torch.float64):
        return False
    (_, one), *_ = edits
    return all(
        type(edit) is Edit
        and edit.add
        and edit.basis is None
        and edit.watch is None
        and edit.value.shape == one.value.shape
        and (edit.site.head is None) == (one.site.head is None)
        for _, edit in edits
    )


def _add_together(x: Tensor, edits: Sequence[tuple[int, Edit]], first: int) -> Tensor:
    """x (A, n, S, d) or (A, n, S, heads, d) with all that is added, in whatever order."""
    values = torch.stack([edit.value for _, edit in edits]).to(x)
    return x.index_put(_index_of(x, edits, first), values, accumulate=True)


def _index_of(x: Tensor, edits: Sequence[tuple[int, Edit]], first: int) -> tuple[Tensor, ...]:
    """Where edits of one shape are made, (edits, n, k) together."""
    where = torch.tensor([[arm - first, edit.site.head or 0] for arm, edit in edits])
    arms, heads = placed(where, x.device).T[:, :, None, None]
    rows = torch.arange(x.shape[1], device=x.device)[:, None]
    positions = [edit.positions for _, edit in edits]
    same = all(other is positions[0] for other in positions)
    at = positions[0][None] if same else torch.stack(positions)
    whole = edits[0][1].site.head is None
    return (arms, rows, at) if whole else (arms, rows, at, heads)


def _edited(x: Tensor, edit: Edit) -> Tensor:
    if x.shape[1] == 1 == edit.positions.shape[1]:  # the usual tail: the last token alone
        return edit.apply(x)
    return scatter(x, edit.positions, edit.apply(gather(x, edit.positions)))


def _head(x: Tensor, head: int | None) -> Tensor:
    return x if head is None else x[..., head, :]


def _with_head(x: Tensor, head: int | None, new: Tensor) -> Tensor:
    if head is None:
        return new
    out = x.clone()
    out[..., head, :] = new
    return out


def _index(head: int | None) -> int:
    assert head is not None
    return head
