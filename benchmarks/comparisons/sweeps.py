"""Sweeps: every layer at END, layers by positions, every head at END.

The others cache the sources' run once and then make one whole forward pass for every cell, which is
what `generic_activation_patch` does, and what one writes with hooks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from bench import Bench
from common import Pairs
from product import Ours, logit_diffs
from torch import Tensor, nn
from turns import Comparison, Side, Timing, now

Setter = Callable[[Tensor, list[int], Tensor], None]
"""Puts part of the source's activation into the base's, in place: (base, cell, source)."""


def end_sweep(bench: Bench) -> Comparison:
    pairs, layers = bench.pairs(bench.sizes.sweep), list(range(bench.shapes.n_layers))
    cells = [[layer] for layer in layers]
    body = "sweep s on p { for l in layers: patch resid_pre[l] @ END  report logit_diff }"
    sides: list[Side] = [
        _lens(bench, pairs, cells, "resid_pre", _at_end),
        _plain(bench, pairs, cells, "resid_pre", _at_end),
    ]
    sides += [peer.side("end_sweep", pairs, cells=cells) for peer in bench.peers]
    about = f"resid_pre of every layer patched at END: {len(cells)} arms, {len(pairs)} pairs"
    return _comparison(bench, "end_sweep", about, pairs, body, sides, len(cells))


def grid_sweep(bench: Bench) -> Comparison:
    pairs, step = bench.pairs(bench.sizes.grid), bench.sizes.grid_step
    layers = list(range(step // 2, bench.shapes.n_layers, step))
    length = pairs.base.shape[1]
    cells = [list(cell) for cell in itertools.product(layers, range(length))]
    named = ", ".join(str(layer) for layer in layers)
    body = f"sweep s on p {{ for l in {{{named}}}, q in positions: patch resid_pre[l] @ q "
    sides: list[Side] = [_lens(bench, pairs, cells, "resid_pre", _at_position)]
    about = (
        f"resid_pre patched at {len(layers)} of {bench.shapes.n_layers} layers and all {length} "
        f"positions: {len(cells)} arms, {len(pairs)} pairs"
    )
    return _comparison(
        bench, "grid_sweep", about, pairs, body + "report logit_diff }", sides, len(cells)
    )


def head_sweep(bench: Bench) -> Comparison:
    """All heads, which takes the others long: against TransformerLens only."""
    pairs, shapes = bench.pairs(bench.sizes.heads), bench.shapes
    cells = [[layer, head] for layer in range(shapes.n_layers) for head in range(shapes.n_heads)]
    body = "sweep s on p { for h in heads: patch head[h].z @ END  report logit_diff }"
    sides: list[Side] = [_lens(bench, pairs, cells, "z", _head_at_end)]
    about = f"z of every head patched at END: {len(cells)} arms, {len(pairs)} pairs"
    return _comparison(bench, "head_sweep", about, pairs, body, sides, len(cells))


def some_heads(bench: Bench) -> Comparison:
    """The heads of some layers, against all who can."""
    pairs, shapes, step = bench.pairs(bench.sizes.some_heads), bench.shapes, bench.sizes.some_step
    layers = range(step // 2, shapes.n_layers, step)
    cells = [[layer, head] for layer in layers for head in range(shapes.n_heads)]
    named = ", ".join(f"{layer}.{head}" for layer, head in cells)
    body = f"sweep s on p {{ for h in {{{named}}}: patch head[h].z @ END  report logit_diff }}"
    sides: list[Side] = [
        _lens(bench, pairs, cells, "z", _head_at_end),
        _plain(bench, pairs, cells, "z", _head_at_end),
    ]
    sides += [peer.side("head_sweep", pairs, cells=cells) for peer in bench.peers]
    about = (
        f"z of the heads of layers {', '.join(map(str, layers))} patched at END: {len(cells)} "
        f"arms, {len(pairs)} pairs"
    )
    return _comparison(bench, "some_heads", about, pairs, body, sides, len(cells))


def _comparison(
    bench: Bench, name: str, about: str, pairs: Pairs, body: str, sides: list[Side], arms: int
) -> Comparison:
    program = bench.program(name, pairs, body)
    facts = {
        "pairs": len(pairs),
        "tokens": pairs.base.shape[1],
        "arms": arms,
        "check_s": round(program.check, 4),
        "compile_s": round(program.compile, 4),
    }
    ours = Ours(bench.product, program, output=lambda session: logit_diffs(session, "s"))
    return Comparison(name, about, [ours, *sides], facts)


def _at_end(base: Tensor, cell: list[int], source: Tensor) -> None:
    base[:, -1] = source[:, -1]


def _at_position(base: Tensor, cell: list[int], source: Tensor) -> None:
    base[:, cell[1]] = source[:, cell[1]]


def _head_at_end(base: Tensor, cell: list[int], source: Tensor) -> None:
    base[:, -1, cell[1]] = source[:, -1, cell[1]]


def difference(logits: Tensor, answers: Tensor) -> Tensor:
    """Logit differences (n,) from logits (n, T, V) or (n, V)."""
    last = logits[:, -1] if logits.dim() == 3 else logits
    chosen = last.gather(1, answers)
    return chosen[:, 0] - chosen[:, 1]


@dataclass
class _Timed:
    """A side whose output is all that is timed."""

    name: str
    work: Callable[[], Tensor]

    @torch.no_grad()
    def run(self) -> Timing:
        began = now()
        output = self.work()
        return Timing(now() - began, output)


def _lens(bench: Bench, pairs: Pairs, cells: list[list[int]], at: str, put: Setter) -> _Timed:
    return _Timed("TransformerLens", partial(_patch_with_lens, bench, pairs, cells, at, put))


def _patch_with_lens(
    bench: Bench, pairs: Pairs, cells: list[list[int]], at: str, put: Setter
) -> Tensor:
    import pandas
    from transformer_lens import patching

    columns = ["layer", "index"][: len(cells[0])]
    layers = {cell[0] for cell in cells}
    wanted = "hook_z" if at == "z" else f"hook_{at}"
    _, cache = bench.bridge.run_with_cache(
        pairs.source,
        names_filter=lambda name: name.endswith(wanted) and int(name.split(".")[1]) in layers,
    )

    def setter(base: Tensor, cell: list[int], sources: Any) -> Tensor:
        put(base, cell, sources)
        return base

    patching.tqdm = _silent
    found = patching.generic_activation_patch(
        bench.bridge,
        pairs.base,
        cache,
        lambda logits: difference(logits, pairs.answers),
        setter,
        at,
        index_df=pandas.DataFrame(cells, columns=columns),
        reduce="none",
    )
    values: Tensor = found.values
    return values


def _silent(items: Any) -> Any:
    return items


def _plain(bench: Bench, pairs: Pairs, cells: list[list[int]], at: str, put: Setter) -> _Timed:
    work = partial(_patch_with_hooks, bench, pairs, cells, at, put)
    return _Timed("Hugging Face with hooks", work)


def _patch_with_hooks(
    bench: Bench, pairs: Pairs, cells: list[list[int]], at: str, put: Setter
) -> Tensor:
    """With hooks before a layer, or before the matrix that reads the heads."""
    model = bench.plain
    heads = (bench.shapes.n_heads, -1)

    def place(layer: int) -> nn.Module:
        block: nn.Module = model.model.layers[layer]
        return block if at == "resid_pre" else block.self_attn.o_proj

    def view(x: Tensor) -> Tensor:
        return x if at == "resid_pre" else x.unflatten(-1, heads)

    sources: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            sources[layer] = given[0].clone()

        return hook

    def patch(cell: list[int]) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            changed = given[0].clone()
            put(view(changed), cell, view(sources[cell[0]]))
            return (changed, *given[1:])

        return hook

    with hooked([(place(layer), keep(layer)) for layer in {cell[0] for cell in cells}]):
        model(pairs.source, logits_to_keep=1)
    found = []
    for cell in cells:
        with hooked([(place(cell[0]), patch(cell))]):
            logits = model(pairs.base, logits_to_keep=1).logits
        found.append(difference(logits, pairs.answers))
    return torch.stack(found)


@contextmanager
def hooked(hooks: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Hooks before modules, for a while."""
    handles = [module.register_forward_pre_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
