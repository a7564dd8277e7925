"""The reference backend: TransformerLens hooks around whole forward passes.

For each edited site x of a pass, at the hook where x is seen (n prompts, T tokens, width d)::

    x[i, positions[i]] := edit(x[i, positions[i]])                       (engine/edits.py)

Two sites have no hook of their own to write to, so the write goes where it has their effect::

    head.out:   y = z W_O[h];     sum of heads := sum of heads + (edit(y) - y)
    resid_mid:  m = resid_pre + attn_out;     attn_out := edit(m) - resid_pre

The heads are summed before any norm behind attention and any multiplier, so what follows sees the
change. ``points.py`` says where a family has its sites. The logits are the model's output.
(TransformerLens's ``hook_resid_mid`` is only the input of the second norm: a write there leaves the
skip connection as it was.) A pass that went through says nothing about hooks that never fired, so
each one is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure, suggest
from causaldsl.engine.backend import CleanPass, Logits, Pass
from causaldsl.engine.edits import Edit, Read, gather, needs_grad, scatter
from causaldsl.engine.exact import exact
from causaldsl.engine.hooks.frozen import Change, Held, changes, clean_values
from causaldsl.engine.hooks.patterns import Patterns, by_query
from causaldsl.engine.hooks.points import NORMED, OUTPUT, Points
from causaldsl.engine.hooks.writer import HooksWriter
from causaldsl.engine.hooks.writes import HeadOut, ResidMid
from causaldsl.engine.recorded import RecordedActivations
from causaldsl.engine.softcap import capped
from causaldsl.engine.upcast import upcast, upcast_dtype
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.chunks import HOOKS_PROMPTS
from causaldsl.plan.freeze import Freeze

T = TypeVar("T")

_WAYS = ("there", "heads", "stream")


class HooksRun:
    """The tokens of a clean run, what was recorded, and its logits (n, c) or (n, V), if wanted.

    Edited runs start again from the tokens.
    """

    def __init__(self, tokens: Tensor):
        self.tokens, self.recorded = tokens, RecordedActivations()
        self.logits: Tensor | None = None
        self.columns: Tensor | None = None

    def read(self, read: Read) -> Tensor:
        return self.recorded.find(read)

    def find_logits(self, columns: Tensor | None, rows: Tensor | None) -> Tensor | None:
        """The logits of some rows, (n, c) or (n, V); None if others were kept."""
        if self.logits is None:
            return None
        logits = self.logits if rows is None else self.logits[rows]
        if self.columns is None:
            return logits if columns is None else logits.gather(1, columns)
        kept = self.columns if rows is None else self.columns[rows]
        return logits if columns is not None and torch.equal(columns, kept) else None


class HooksBackend:
    """Runs a ``TransformerBridge``, or any other ``HookedRootModule`` (``shapes.text`` false).

    Arms run one after the other, ``at_once`` prompts at a time. The model's parameters are frozen:
    gradients are only ever wanted for edits.
    """

    name = "hooks"
    ragged = False

    def __init__(self, model: Any, shapes: ModelDims, at_once: int = HOOKS_PROMPTS):
        self.model, self.shapes, self.at_once, self.most = model, shapes, at_once, 0
        self.points = Points(model, shapes)
        parameter = next(iter(model.parameters()), None)
        self._dtype = torch.float32 if parameter is None else parameter.dtype
        self._patterns = Patterns(self.points, self._dtype)
        model.requires_grad_(False)

    def serves(self, site: Site) -> bool:
        if self.points.of(site) is None:
            return False
        return not site.is_pattern or self._patterns.used(_layer(site))

    def clean(self, wanted: CleanPass) -> HooksRun:
        """One forward pass for both, what is read and the logits."""
        run, ask = HooksRun(wanted.tokens), wanted.logits
        if wanted.reads or ask is not None:
            logits, values = self._forwards(run.tokens, (), wanted.reads, None)
            for read, value in zip(wanted.reads, values, strict=True):
                run.recorded.add(read, value)
            if ask is not None:
                run.columns = ask.columns
                run.logits = logits if ask.columns is None else logits.gather(1, ask.columns)
        return run

    def run(self, wanted: Pass[T]) -> T:
        return wanted.ask.join([self._single(arm) for arm in wanted.single_arms()])

    def training(self, steps: int, memory: int | None = None) -> AbstractContextManager[None]:
        return nullcontext()

    def _single(self, wanted: Pass[T]) -> T:
        """The answer of a pass with one arm."""
        (edits,), clean, ask = wanted.arms, wanted.clean, wanted.ask
        if isinstance(ask, Logits) and not edits:
            kept = clean.find_logits(ask.columns, wanted.rows)
            if kept is not None:
                return kept[None]
        tokens = clean.tokens if wanted.rows is None else clean.tokens[wanted.rows]
        return ask.answer(*self._forwards(tokens, edits, wanted.reads, wanted.hold))

    def _forwards(
        self, tokens: Tensor, edits: Sequence[Edit], reads: Sequence[Read], freeze: Freeze | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (n, V), and what was read, ``at_once`` prompts at a time."""
        parts = []
        at_once = max(1, self.at_once // max((edit.spread for edit in edits), default=1))
        self.most = max(self.most, min(len(tokens), at_once))
        with torch.set_grad_enabled(needs_grad(edits)), exact(self._dtype):
            for start in range(0, len(tokens), at_once):
                part = slice(start, start + at_once)
                cut = [edit.take(part) for edit in edits]
                local = [Read(read.site, read.positions[part]) for read in reads]
                parts.append(self._forward(tokens[part], cut, local, freeze))
        logits = torch.cat([part[0] for part in parts])
        return logits, [torch.cat([part[1][i] for part in parts]) for i in range(len(reads))]

    def _forward(
        self,
        tokens: Tensor,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        freeze: Freeze | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (n, V), and what was read, of some prompts in one forward pass."""
        sites = [*(edit.site for edit in edits), *(read.site for read in reads)]
        for site in sites:
            if not self.serves(site):
                raise RunFailure(
                    f"{self.shapes.name} has no hook for {site}",
                    suggest(site.hook_name, self.points.names),
                )
        return self._through(partial(self.model, tokens), tokens, edits, reads, freeze)

    def writer(self, tokens: Tensor, lengths: Tensor, room: int) -> HooksWriter:
        """Writes behind prompts (n, T) of one length."""

        def forward(tokens: Tensor, edits: Sequence[Edit], cache: Any) -> tuple[Tensor, Any]:
            kept: list[Any] = []

            def model() -> Tensor:
                out = self.model.original_model(
                    input_ids=tokens, past_key_values=cache, use_cache=True
                )
                kept.append(out.past_key_values)
                logits: Tensor = out.logits
                return logits

            with exact(self._dtype):
                logits, _ = self._through(model, tokens, edits, (), None)
            return logits, kept[-1]

        return HooksWriter(forward, tokens)

    def _through(
        self,
        model: Callable[[], Tensor],
        tokens: Tensor,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        freeze: Freeze | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The same through any forward pass of the model over these tokens."""
        sites = [*(edit.site for edit in edits), *(read.site for read in reads)]
        forward = _Forward(self.points, tokens.shape[:2], edits, reads)
        held = Held()
        if freeze is not None:
            freeze = freeze.freeing([edit.site for edit in edits], self.shapes)
            held = clean_values(self.points, tokens, freeze)
            forward.hold(held, freeze)
        hooks = [(name, forward.at(name)) for name in forward.changes if name != OUTPUT]
        try:
            with self.model.hooks(fwd_hooks=hooks), held.holding():
                logits = self._logits(model, forward, held)
        except ValueError as error:
            # TransformerLens refuses hook points that a setting of the model has switched off.
            if "Cannot add hook" not in str(error):
                raise
            named = ", ".join(map(str, sites))
            raise RunFailure(f"a hook of {named} is switched off: {error}") from error
        forward.check_fired()
        return logits, forward.values

    def _logits(self, model: Callable[[], Tensor], forward: _Forward, held: Held) -> Tensor:
        """Logits (n, V) at the last position, in single precision at least."""
        form, half = self.shapes.form, upcast_dtype(self._dtype) != self._dtype
        if form is None or not (half or held.shrinkage is not None):
            return upcast(forward.end(model())[:, -1])
        normed: list[Tensor] = []

        def keep(x: Tensor, hook: Any) -> None:
            normed.append(x if OUTPUT in forward.changes else x[:, -1:])

        with self.model.hooks(fwd_hooks=[(NORMED, keep)]):
            model()
        logits = self.points.unembed(normed[0])
        if held.shrinkage is not None:
            logits = logits * held.shrinkage
        elif form.logit_softcap is not None:
            logits = capped(logits, form.logit_softcap)
        return forward.end(logits)[:, -1]


class _Forward:
    """The changes and records of one forward pass, by hook point.

    Within a hook point the order is: what is frozen, what other sites pushed here, this site's
    edits in their order, its reads, then what later sites need of it.
    """

    def __init__(
        self, points: Points, shape: torch.Size, edits: Sequence[Edit], reads: Sequence[Read]
    ):
        self._points, self._shape = points, shape
        self.changes: dict[str, list[Change]] = {}
        self._fired: list[tuple[str, str, list[int]]] = []
        self.values: list[Tensor] = [torch.empty(0)] * len(reads)
        written = {way: [e for e in edits if points.written(e.site) == way] for way in _WAYS}
        out_layers = sorted({_layer(edit.site) for edit in written["heads"]})
        mid_layers = sorted({_layer(edit.site) for edit in written["stream"]})
        head_out = {
            layer: HeadOut(points.W_O(layer), _at(edits, "head.out", layer)) for layer in out_layers
        }
        for layer, moved in head_out.items():
            self._on(moved.edits[0].site, points.attention_sum(layer), moved.add)
        for edit in written["there"]:
            self._on_site(edit.site, self._write(edit))
        for moved in head_out.values():
            self._on_site(moved.edits[0].site, moved.measure)
        for index, read in enumerate(reads):
            self._on_site(read.site, self._read(index, read, head_out.get(_layer(read.site))))
        for layer in mid_layers:
            mid = ResidMid(_at(edits, "resid_mid", layer))
            self._on(Site("resid_pre", layer), points.beside_attention(layer), mid.capture)
            self._on_site(Site("attn_out", layer), mid.write)
            self._on_site(Site("resid_mid", layer), mid.check)

    def hold(self, held: Held, freeze: Freeze) -> None:
        """Put the values that are held where they belong, before all else."""
        for site, change in changes(held, freeze):
            self._on_site(site, change, first=True)

    def end(self, logits: Tensor) -> Tensor:
        """The model's output (n, T, V) with what is done to it."""
        return self.at(OUTPUT)(logits, None) if OUTPUT in self.changes else logits

    def at(self, name: str) -> Callable[..., Tensor]:
        """The hook function for one hook point."""

        def hook(x: Tensor, hook: Any) -> Tensor:
            for change in self.changes[name]:
                new = change(x)
                x = x if new is None else new
            return x

        return hook

    def check_fired(self) -> None:
        for what, name, count in self._fired:
            if count[0] != 1:
                times = "never fired" if count[0] == 0 else f"fired {count[0]} times"
                raise RunFailure(
                    f"the hook of {what} {times} in a forward pass",
                    f"its hook point is {name}",
                )

    def _on_site(self, site: Site, change: Change, first: bool = False) -> None:
        name = self._points.of(site)
        assert name is not None
        self._on(site, name, by_query(change) if site.is_pattern else change, first)

    def _on(self, what: object, name: str, change: Change, first: bool = False) -> None:
        count = [0]

        def counted(x: Tensor) -> Tensor | None:
            count[0] += 1
            return change(x)

        there = self.changes.setdefault(name, [])
        there.insert(0 if first else len(there), counted)
        self._fired.append((str(what), name, count))

    def _write(self, edit: Edit) -> Change:
        def change(x: Tensor) -> Tensor:
            part, factor = self._part(x, edit.site), self._points.factor(edit.site)
            old = gather(part, edit.positions) / factor
            new = scatter(part, edit.positions, edit.apply(old) * factor)
            if edit.site.head is None:
                return new.reshape(x.shape)
            out = x.clone()
            out[:, :, edit.site.head] = new
            return out

        return change

    def _read(self, index: int, read: Read, head_out: HeadOut | None) -> Change:
        site = read.site

        def record(x: Tensor) -> None:
            value = gather(self._part(x, site), read.positions) / self._points.factor(site)
            if site.word.written == "heads":
                value = value @ self._points.W_O(_layer(site))[site.head]
                if head_out is not None:
                    value = value + gather(head_out.change(x, site), read.positions)
            self.values[index] = value

        return record

    def _part(self, x: Tensor, site: Site) -> Tensor:
        """The site's own activation (n, T, d) in what its hook point shows."""
        by_position = x.shape[:2] == self._shape and x.dim() >= 3
        if not by_position or not site.by_position:
            raise RunFailure(
                f"{site} has shape {tuple(x.shape)}, which is not one vector a prompt and token",
                "only hooks of shape (prompts, tokens, ...) can be read and written",
            )
        wanted, shown = self._points.shape(site), tuple(x.shape[2:])
        found = shown if site.head is not None else (math.prod(shown),)
        if wanted is not None and found != wanted:
            raise RunFailure(
                f"TransformerLens shows {site} as numbers of shape {shown} a token, not {wanted}",
                f"how {self._points.shapes.architecture} keeps it is not known here; use another "
                "site, such as attn_out or resid_post",
            )
        return x[:, :, site.head] if site.head is not None else x.flatten(2)


def _layer(site: Site) -> int:
    return -1 if site.layer is None else site.layer


def _at(edits: Sequence[Edit], kind: str, layer: int) -> list[Edit]:
    return [e for e in edits if e.site.kind == kind and e.site.layer == layer]
