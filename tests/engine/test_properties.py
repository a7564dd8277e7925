"""What must hold of patches on any backend, and what must fail."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.HookedRootModule import HookedRootModule
from transformers import AutoModelForCausalLM

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import CleanPass, Logits, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.toy import ToyModel
from causaldsl.engine.weights.known_answers import answers_of
from causaldsl.model.sites import Site
from causaldsl.model.toy import toy
from tests.engine.conftest import LENGTH, Parties, boot
from tests.engine.test_backends import CLOSE, KINDS, basis_of, site_of
from tests.tiny import tiny_folder

POSITIONS = torch.tensor([[2, 6], [4, 6], [3, 5]])


def edits_along(trio: Parties, site: Site, basis: Tensor | None, *, own: bool = False) -> Edit:
    """A patch whose value comes from the source, or from the base itself."""
    read = Read(site, POSITIONS)
    backend = trio.backends["hooks"]
    value = backend.clean(CleanPass(trio.base if own else trio.source, reads=[read])).read(read)
    return Edit(site, POSITIONS, value, basis)


def run(trio: Parties, backend: Any, edits: list[Edit]) -> Tensor:
    clean = backend.clean(CleanPass(trio.base, edits_at=[Read(e.site, e.positions) for e in edits]))
    return logits_of(backend, clean, edits)


@pytest.mark.parametrize("kind", KINDS)
def test_identities(trio: Parties, kind: str) -> None:
    """From itself and along nothing: no change. Along everything: the whole patch."""
    site = site_of(trio, kind)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    width = site.width(trio.shapes)
    assert width is not None
    for backend in trio.backends.values():
        for same in (
            edits_along(trio, site, None, own=True),
            edits_along(trio, site, basis_of(width, 2), own=True),
            edits_along(trio, site, torch.empty(width, 0, dtype=torch.float64)),
        ):
            assert (run(trio, backend, [same]) - trio.clean).abs().max() < CLOSE
        whole = run(trio, backend, [edits_along(trio, site, None)])
        full = run(trio, backend, [edits_along(trio, site, basis_of(width, width))])
        assert (full - whole).abs().max() < CLOSE


def test_chunks_do_not_matter(trio: Parties) -> None:
    edit = edits_along(trio, Site("resid_post", 1), None)
    for backend in trio.backends.values():
        whole = run(trio, backend, [edit])
        small = copy.copy(backend)
        small.at_once = 1
        assert (run(trio, small, [edit]) - whole).abs().max() < CLOSE
        columns = torch.tensor([[1, 2]] * 3)
        clean = small.clean(CleanPass(trio.base, edits_at=[Read(edit.site, POSITIONS)]))
        few = logits_of(small, clean, [edit], columns)
        assert (few - whole.gather(1, columns)).abs().max() < CLOSE


@pytest.mark.parametrize("kind", ["mlp_hidden", "resid_pre", "resid_mid", "q", "v", "out", "embed"])
def test_gradients(trio: Parties, kind: str) -> None:
    """To the basis and to the value: the backends agree, and with finite differences."""
    site = site_of(trio, kind)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    width = site.width(trio.shapes)
    assert width is not None
    edit, basis = edits_along(trio, site, None), basis_of(width, 2)
    weights = torch.randn(3, trio.shapes.d_vocab, dtype=torch.float64)
    step = torch.randn(width, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def objective(backend: Any, basis: Tensor, value: Tensor) -> Tensor:
        return (run(trio, backend, [Edit(site, POSITIONS, value, basis)]) * weights).sum()

    found = {}
    for name, backend in trio.backends.items():
        free, value = basis.clone().requires_grad_(), edit.value.clone().requires_grad_()
        found[name] = torch.autograd.grad(objective(backend, free, value), (free, value))
        slope = (found[name][0] * step).sum()
        there = objective(backend, basis + 1e-6 * step, edit.value)
        back = objective(backend, basis - 1e-6 * step, edit.value)
        assert slope.abs() > 1e-3
        assert abs((there - back) / 2e-6 - slope) < 1e-5 * (1 + slope.abs())
    for mine, theirs in zip(found.get("cone", found["hooks"]), found["hooks"], strict=True):
        assert (mine - theirs).abs().max() < CLOSE


def test_no_graph_without_need(trio: Parties) -> None:
    edit = edits_along(trio, Site("resid_post", 1), None)
    for backend in trio.backends.values():
        assert not run(trio, backend, [edit]).requires_grad


class _Deaf(HookedRootModule):
    """Has a hook point that never fires, and one that can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = HookPoint(), HookPoint()
        self.setup()

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x[:, :, None])


def test_hooks_that_never_fire(trio: Parties) -> None:
    model = _Deaf()
    backend = HooksBackend(model, trio.shapes)
    numbers, at = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.long)
    with pytest.raises(RunFailure, match=r'hook\("unused"\) never fired'):
        run_on(backend, numbers, Edit(Site("hook", hook="unused"), at, torch.ones(2, 1, 1)))
    with pytest.raises(RunFailure, match="has no hook"):
        run_on(backend, numbers, Edit(Site("hook", hook="misspelled"), at, torch.ones(2, 1, 1)))
    with pytest.raises(RunFailure, match="never fired"):
        backend.clean(CleanPass(numbers, reads=[Read(Site("hook", hook="unused"), at)]))
    assert not model.list_hooks()


def run_on(backend: Any, tokens: Tensor, edit: Edit) -> Tensor:
    clean = backend.clean(CleanPass(tokens, edits_at=[Read(edit.site, edit.positions)]))
    return logits_of(backend, clean, [edit])


def test_hooks_are_removed_after_an_exception(trio: Parties) -> None:
    backend = trio.backends["hooks"]
    wrong = Edit(Site("resid_post", 1), POSITIONS, torch.zeros(3, 2, 5, dtype=torch.float64))
    with pytest.raises(RuntimeError):
        run(trio, backend, [wrong])
    assert not backend.model.list_hooks()
    edit = edits_along(trio, Site("head.out", 1, 0), None)
    run(trio, backend, [edit])
    assert not backend.model.list_hooks()
    assert (run(trio, backend, []) - trio.clean).abs().max() < CLOSE


def test_raw_hooks(trio: Parties) -> None:
    """Any hook of TransformerLens that shows one vector a token; else an error, not a guess."""
    backend, end = trio.backends["hooks"], torch.full((3, 1), LENGTH - 1)
    raw = Read(Site("hook", hook="blocks.1.attn.hook_z"), end)
    z = backend.clean(CleanPass(trio.base, reads=[raw])).read(raw)
    heads = [Read(Site("head.z", 1, h), end) for h in range(trio.shapes.n_heads)]
    clean = backend.clean(CleanPass(trio.base, reads=heads))
    assert torch.equal(z, torch.cat([clean.read(read) for read in heads], dim=-1))
    pattern = Read(Site("hook", hook="blocks.1.attn.hook_pattern"), end)
    with pytest.raises(RunFailure, match="not one vector"):
        backend.clean(CleanPass(trio.base, reads=[pattern]))
    gated = Edit(Site("hook", hook="blocks.1.hook_mlp_in"), end, torch.zeros(3, 1, 32))
    with pytest.raises(RunFailure, match=r"switched off|has no hook"):
        run(trio, backend, [gated])
    assert not any(b.serves(raw.site) for name, b in trio.backends.items() if name == "cone")


def test_a_toy_model() -> None:
    spec = toy("toy/illusion")
    backend = HooksBackend(ToyModel(spec), spec.shapes)
    hidden = Site("mlp_hidden", 0)
    at = torch.zeros(2, 1, dtype=torch.long)
    x = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    read = Read(hidden, at)
    clean = backend.clean(CleanPass(x, reads=[read]))
    assert clean.read(read).shape == (2, 1, 3)
    assert torch.equal(logits_of(backend, clean), x)
    source = backend.clean(CleanPass(-x, reads=[read])).read(read)
    assert torch.equal(logits_of(backend, clean, [Edit(hidden, at, source)]), -x)


def test_the_cone_refuses(tmp_path: Path, llama: Parties) -> None:
    def load(family: Any) -> Any:
        folder = tiny_folder(tmp_path, family)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()

    odd = load("llama")
    nn.init.ones_(odd.model.layers[0].mlp.up_proj.weight)
    wanted = answers_of(odd, odd.get_input_embeddings().weight)
    with pytest.raises(Unsupported, match="differ by"):
        ConeBackend(load("llama"), llama.shapes, wanted=wanted)


def test_the_cone_reads_a_module_that_a_bridge_has_wrapped(tmp_path: Path, llama: Parties) -> None:
    for family in ("llama", "gpt2"):
        folder = tiny_folder(tmp_path, family)
        module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        before = ConeBackend(module, llama.shapes)
        boot(folder, module, torch.float64)
        after = ConeBackend(module, llama.shapes)
        first, second = (logits_of(b, b.clean(CleanPass(llama.base))) for b in (before, after))
        assert (first - second).abs().max() < CLOSE


def test_the_cone_keeps_only_what_was_announced(llama: Parties) -> None:
    """A pass that would have to start from what is not there is an error, not a wrong number."""
    backend, end = llama.backends["cone"], torch.full((3, 1), LENGTH - 1)
    clean = backend.clean(CleanPass(llama.base, edits_at=[Read(Site("resid_post", 2), end)]))
    value = torch.zeros(3, 1, llama.shapes.d_model, dtype=torch.float64)
    with pytest.raises(LookupError, match="nothing to start from"):
        logits_of(backend, clean, [Edit(Site("resid_post", 1), end, value)])
    with pytest.raises(LookupError, match="last 1 positions"):
        logits_of(backend, clean, [Edit(Site("resid_post", 2), end - 1, value)])
    with pytest.raises(LookupError, match="not recorded"):
        clean.read(Read(Site("resid_post", 2), end))
    kept = clean.residual.values()
    assert [tuple(x.shape) for x in kept] == [(3, 1, llama.shapes.d_model)]
    assert sorted(clean.keys) == [3]
    assert clean.keys[3].shape[2] == LENGTH - 1


def test_a_clean_run_that_need_not_be_whole_stops_after_its_reads(llama: Parties) -> None:
    backend, end = llama.backends["cone"], torch.full((3, 1), LENGTH - 1)
    reads = [
        Read(Site("mlp_in", 1), end),
        Read(Site("resid_post", 2), end),
        Read(Site("embed"), end),
    ]
    short, whole = (
        backend.clean(CleanPass(llama.base, reads=reads, logits=Logits() if whole else None))
        for whole in (False, True)
    )
    for read in reads:
        assert torch.equal(short.read(read), whole.read(read))
    with pytest.raises(LookupError, match="stopped before the logits"):
        logits_of(backend, short)
