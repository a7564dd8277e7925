"""Training steps and whole fits of a DAS direction, at the MLP's neurons in the middle, at END.

A step is: patch the bases with their sources along the direction, cross-entropy of the whole
vocabulary to the counterfactual answer at the last token, backward to the direction, Adam. Before
anything is timed, the loss of one random direction must be the same on every side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from bench import Bench
from common import Pairs
from product import NAME, Compiled, Ours, Progress
from random_models import random_model
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from turns import Comparison, Side, Timing, now

from causaldsl.engine.bases import DasOptions, start
from causaldsl.engine.session import Session
from causaldsl.model.sites import Site

LR = 0.02
Timed = Callable[[Progress, float, float], Timing]
AT_ONCE = 64
"""Larger batches go through the others in parts, with the same gradients: a pass over 512 prompts
with all their logits would need many gigabytes."""
_LARGE, _FEW_AT_ONCE = 100_000, 16
"""The same where a vocabulary is large."""


def das_step_few(bench: Bench) -> Comparison:
    return _step(bench, "das_step_64", bench.sizes.few, bench.sizes.our_steps, True)


def das_step_many(bench: Bench) -> Comparison:
    return _step(bench, "das_step_512", bench.sizes.many, bench.sizes.our_steps_of_many, False)


def das_step_of(model: str) -> Callable[[Bench], Comparison]:
    """A step in a random model of another family, beside TransformerLens."""

    def made(bench: Bench) -> Comparison:
        loaded = random_model(model, bench.folder, bench.sizes.real)
        own = Bench(str(bench.folder / model), bench.sizes, bench.folder, loaded=loaded)
        name = f"das_step_{model}"
        return _step(own, name, bench.sizes.few, bench.sizes.our_steps, False, model)

    return made


def _step(
    bench: Bench, name: str, count: int, our_steps: int, all_sides: bool, model: str = ""
) -> Comparison:
    pairs, site = bench.pairs(count), Site("mlp_hidden", bench.layer)
    # An epoch is one step. Ours needs two more epochs: the warm-up, and one to see the last end.
    program = bench.program(name, pairs, _trained(site, our_steps + 2, count))
    lens, plain = Lens(bench, pairs, site), Plain(bench, pairs, site)
    their_steps = bench.sizes.their_steps if all_sides else 1
    sides: list[Side] = [
        Ours(bench.product, program, timing=_timed_step),
        _Fitted("TransformerLens", partial(lens.steps, their_steps)),
    ]
    if all_sides:
        sides.append(_Fitted("Hugging Face with hooks", partial(plain.steps, their_steps)))
    fit = {"site": str(site), "layer": bench.layer, "steps": their_steps, "lr": LR}
    peers = [peer.side("das_step", pairs, **fit) for peer in bench.peers if all_sides]
    basis = _random_basis(bench, site).to(bench.device)
    return Comparison(
        name=name,
        about=f"one training step of DAS at {site} @ END, {count} pairs"
        + (f", random weights of {model}'s shapes" if model else "")
        + "; what comes before the first step is shown apart",
        sides=[*sides, *peers],
        facts=_facts(pairs, program, site) | {"timed_steps": [our_steps, their_steps]},
        losses={
            NAME: lambda: _our_loss(bench, pairs, site, basis),
            sides[1].name: lambda: lens.loss(basis),
            **({sides[2].name: lambda: plain.loss(basis)} if all_sides else {}),
            **{peer.name: partial(peer.loss, basis) for peer in peers},
        },
    )


def das_fit(bench: Bench) -> Comparison:
    """A whole fit: of ours also the effect of the direction, which a run always adds."""
    sizes = bench.sizes
    pairs, site = bench.pairs(sizes.fit), Site("mlp_hidden", bench.layer)
    program = bench.program("das_fit", pairs, _trained(site, sizes.fit_epochs, sizes.few))
    lens = Lens(bench, pairs, site)
    basis = _random_basis(bench, site).to(bench.device)
    return Comparison(
        name="das_fit",
        about=f"a whole fit of DAS at {site} @ END, {sizes.fit} pairs in batches of {sizes.few}, "
        f"{sizes.fit_epochs} epochs, clean runs included; ours also measures the effect",
        sides=[
            Ours(bench.product, program),
            _Fitted("TransformerLens", partial(lens.fit, sizes.fit_epochs, sizes.few)),
        ],
        facts=_facts(pairs, program, site) | {"epochs": sizes.fit_epochs, "batch": sizes.few},
        losses={
            NAME: lambda: _our_loss(bench, pairs, site, basis),
            "TransformerLens": lambda: lens.loss(basis),
        },
    )


def seeds(bench: Bench) -> Comparison:
    """Not against others: eight seeds of one fit in one program, against one seed."""
    sizes = bench.sizes
    return _seeds(
        bench,
        "seeds",
        f"one training step of one DAS fit against one of each of {sizes.seeds} seeds, "
        f"{sizes.few} pairs, all in one program",
        sizes.our_steps + 2,
        _timed_step,
    )


def seeds_fit(bench: Bench) -> Comparison:
    """The same, of whole programs with the language's number of epochs: what it costs a user."""
    sizes = bench.sizes
    epochs = min(DasOptions.epochs, sizes.our_steps)
    return _seeds(
        bench,
        "seeds_fit",
        f"a whole program that fits one DAS direction against one that fits {sizes.seeds}, "
        f"from {sizes.seeds} seeds: {sizes.few} pairs, {epochs} epochs, clean runs included",
        epochs,
        None,
    )


def _seeds(bench: Bench, name: str, about: str, epochs: int, timing: Timed | None) -> Comparison:
    """A program that fits one seed and one that fits several; whole runs without ``timing``."""
    sizes = bench.sizes
    pairs, site = bench.pairs(sizes.few), Site("mlp_hidden", bench.layer)
    several = "\n".join(
        _trained(site, epochs, sizes.few, f"v{seed}", f", seed: {seed}", seed == 0)
        for seed in range(sizes.seeds)
    )
    one = bench.program(f"{name}_one", pairs, _trained(site, epochs, sizes.few))
    program = bench.program(name, pairs, several)
    return Comparison(
        name=name,
        about=about,
        sides=[
            Ours(bench.product, one, timing=timing, name="one seed"),
            Ours(bench.product, program, timing=timing, name=f"{sizes.seeds} seeds"),
        ],
        facts=_facts(pairs, program, site) | {"seeds": sizes.seeds, "epochs": epochs},
    )


def _trained(
    site: Site, epochs: int, batch: int, name: str = "v", more: str = "", first: bool = True
) -> str:
    declared = f"site place = {site} @ END\n" if first else ""
    options = f"lr: {LR}, epochs: {epochs}, batch: {batch}, decay: none"
    return f"{declared}subspace {name} = das(place, on: p, {options}{more})"


def _timed_step(progress: Progress, began: float, ended: float) -> Timing:
    first, step = progress.steps()
    parts = {"before": first - began}
    parts |= {f"clean {side}": progress.clean(side) for side in ("base", "source")}
    return Timing(step, parts=parts)


def _facts(pairs: Pairs, program: Compiled, site: Site) -> dict[str, object]:
    return {
        "pairs": len(pairs),
        "tokens": pairs.base.shape[1],
        "site": f"{site} @ END",
        "check_s": round(program.check, 4),
        "compile_s": round(program.compile, 4),
    }


def _random_basis(bench: Bench, site: Site) -> Tensor:
    width = site.width(bench.shapes)
    assert width is not None
    return start(width, 1, seed=1).float()


def _our_loss(bench: Bench, pairs: Pairs, site: Site, basis: Tensor) -> float:
    """Through a program that patches along a saved direction and reports the probability."""
    save_file({"basis": basis.cpu()}, bench.folder / "basis.safetensors")
    body = (
        f'subspace v = file("basis.safetensors")\n'
        f"measure m on p {{ v = patch {site} @ END along v  report prob }}"
    )
    program = bench.program("loss", pairs, body, towards=True)
    session: Session = bench.product.run(program)[0]
    probability = session.values[session.graph.arm("m", "v")].columns["prob"]
    return float(-probability.log().mean())


@dataclass
class _Fitted:
    """A side that times itself."""

    name: str
    run: Callable[[], Timing]


class Lens:
    """TransformerLens's fit_das on a TransformerBridge, as its documentation has it."""

    def __init__(self, bench: Bench, pairs: Pairs, site: Site):
        self.bench, self.hook, self.pairs = bench, site.hook_name, pairs
        self.at_once = AT_ONCE if bench.shapes.d_vocab < _LARGE else _FEW_AT_ONCE
        self.end = torch.full((len(pairs),), pairs.base.shape[1] - 1, device=bench.device)

    def steps(self, count: int) -> Timing:
        """A fit of one warm-up step (unless only one is asked for) and ``count`` more."""
        times: list[float] = []
        warm, parts = int(count > 1), -(-len(self.pairs) // self.at_once)
        began = now()
        marks = (parts, parts * (1 + warm))  # a clock at every step would make the GPU wait
        clock = lambda: times.append(now() if len(times) in marks else 0.0)  # noqa: E731
        self._fit(count + warm, len(self.pairs), clock)
        ended = now()
        # The first pass over the pairs takes the sources' activations; every step is one more.
        first, timed = times[parts], times[parts * (1 + warm)]
        return Timing((ended - timed) / count, parts={"before": first - began})

    def fit(self, epochs: int, batch: int) -> Timing:
        began = now()
        self._fit(epochs, batch, lambda: None)
        return Timing(now() - began)

    def _fit(self, epochs: int, batch: int, tick: Callable[[], None]) -> None:
        from transformer_lens.tools.analysis.interchange import fit_das

        bridge = self.bench.bridge

        def task(tokens: Tensor) -> Tensor:
            tick()
            return bridge(tokens)[:, -1]

        fit_das(
            bridge,
            self.hook,
            self.pairs.base,
            self.pairs.source,
            self.pairs.targets,
            task,
            rank=1,
            base_positions=self.end,
            source_positions=self.end,
            epochs=epochs,
            batch_size=batch,
            lr=LR,
            micro_batch_size=min(batch, self.at_once),
        )

    @torch.no_grad()
    def loss(self, basis: Tensor) -> float:
        from transformer_lens.tools.analysis.interchange import (
            SubspaceInterchange,
            collect_activations,
            intervened_logits,
        )

        def task(tokens: Tensor) -> Tensor:
            return self.bench.bridge(tokens)[:, -1]

        source = collect_activations(
            self.bench.bridge,
            self.hook,
            self.pairs.source,
            task,
            positions=self.end,
            batch_size=self.at_once,
        )
        logits = intervened_logits(
            self.bench.bridge,
            self.hook,
            SubspaceInterchange(basis),
            self.pairs.base,
            source,
            task,
            positions=self.end,
            batch_size=self.at_once,
        )
        return float(F.cross_entropy(logits.cpu(), self.pairs.targets.cpu()))


class Plain:
    """The Hugging Face module with a hook before the MLP's last matrix."""

    def __init__(self, bench: Bench, pairs: Pairs, site: Site):
        self.bench, self.pairs = bench, pairs
        self.width = site.width(bench.shapes)

    @property
    def _place(self) -> torch.nn.Module:
        return last_matrix(self.bench.plain, self.bench.layer)

    def steps(self, count: int) -> Timing:
        warm = int(count > 1)
        began = now()
        values = self._values()
        assert self.width is not None
        free = start(self.width, 1, seed=1).float().to(self.bench.device).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=LR)
        times = []
        for step in range(count + warm):
            times.append(now() if step in (0, warm) else 0.0)
            optimizer.zero_grad()
            for rows in torch.arange(len(self.pairs)).split(AT_ONCE):
                loss = self._loss(free / free.norm(), values, rows)
                (loss * len(rows) / len(self.pairs)).backward()
            optimizer.step()
        ended = now()
        return Timing((ended - times[warm]) / count, parts={"before": times[0] - began})

    @torch.no_grad()
    def loss(self, basis: Tensor) -> float:
        values, total = self._values(), 0.0
        for rows in torch.arange(len(self.pairs)).split(AT_ONCE):
            total += len(rows) * float(self._loss(basis, values, rows))
        return total / len(self.pairs)

    @torch.no_grad()
    def _values(self) -> Tensor:
        found = []

        def keep(module: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
            found.append(given[0][:, -1])

        handle = self._place.register_forward_pre_hook(keep)
        try:
            for part in self.pairs.source.split(AT_ONCE):
                self.bench.plain(part, logits_to_keep=1)
        finally:
            handle.remove()
        return torch.cat(found)

    def _loss(self, basis: Tensor, values: Tensor, rows: Tensor) -> Tensor:
        def patch(module: torch.nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            x = given[0].clone()
            x[:, -1] = x[:, -1] + ((values[rows] - x[:, -1]) @ basis) @ basis.T
            return (x,)

        handle = self._place.register_forward_pre_hook(patch)
        try:
            logits = self.bench.plain(self.pairs.base[rows], logits_to_keep=1).logits[:, -1]
        finally:
            handle.remove()
        return F.cross_entropy(logits, self.pairs.targets[rows])


def last_matrix(module: torch.nn.Module, layer: int) -> torch.nn.Module:
    """The matrix that reads the MLP's neurons, of a Llama-like module."""
    return module.model.layers[layer].mlp.down_proj
