"""A pass that runs out of memory goes on with fewer prompts at a time, to the same numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from causaldsl.check.program import Checker
from causaldsl.diagnostics import RunFailure, Source
from causaldsl.engine.backend import CleanPass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.interpret import interpret
from causaldsl.engine.memory.retry import Retrying
from causaldsl.engine.memory.store import Store
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.sites import Site
from tests.engine.conftest import Parties
from tests.frontend.world import PRELUDE, make_world

ERRORS: dict[str, Callable[[], Exception]] = {
    "CUDA": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "MPS": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 8.10 GB)"),
    "CPU": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 80000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "Windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory"),
    "Python": lambda: MemoryError(),
}
N, LENGTH = 16, 9
SITE = Site("resid_post", 1)


class Small(TorchDispatchMode):
    """A machine on which no tensor can be larger than ``limit`` bytes."""

    def __init__(self, limit: float, error: Callable[[], Exception]):
        super().__init__()
        self.limit, self.error, self.largest = limit, error, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out._base is None:
            size = out.numel() * out.element_size()
            if size > self.limit:
                raise self.error()
            self.largest = max(self.largest, size)
        return out


@contextmanager
def limits_kept(backend: Any) -> Iterator[None]:
    """The backends of these tests are shared: put their limits back."""
    before = vars(backend).copy()
    yield
    vars(backend).update(before)


DRAW = torch.Generator().manual_seed(3)
TOKENS = torch.randint(90, (N, LENGTH), generator=DRAW)
COLUMNS = torch.randint(90, (N, 2), generator=DRAW)
END = torch.full((N, 1), LENGTH - 1)
VALUE = torch.randn(N, 1, 32, generator=DRAW, dtype=torch.float64)


def work(backend: Any, store: Store) -> list[Tensor]:
    """A clean run, patched logits, and a site read under the patch."""
    places = [Read(SITE, END), Read(Site("mlp_out", 2), END)]
    clean = store.put(backend.clean(CleanPass(TOKENS, places[:1], places)), "work")
    edit = Edit(SITE, END, VALUE)
    with torch.no_grad():
        logits = logits_of(backend, clean, [edit], COLUMNS)
        (seen,) = activations_of(backend, clean, [edit], places[1:])
    return [clean.read(places[0]), logits, seen]


@pytest.mark.parametrize(
    ("name", "kind"), [*(("cone", kind) for kind in ERRORS), ("hooks", "CUDA")]
)
def test_it_goes_on_in_smaller_parts(name: str, kind: str, llama: Parties) -> None:
    backend, notes = llama.backends[name], []
    with limits_kept(backend):
        wanted = work(Retrying(backend, Store(2**30)), Store(2**30))
        unit = LENGTH if name == "cone" else 1
        backend.at_once = 4 * unit
        with Small(float("inf"), ERRORS[kind]) as few:
            work(Retrying(backend, Store(2**30)), Store(2**30))
        backend.at_once = 32 * unit
        store = Store(2**30)
        with Small(few.largest, ERRORS[kind]):
            found = work(Retrying(backend, store, notes.append), store)
        assert backend.at_once == 4 * unit
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-12
    assert set(notes) == {notes[0]}
    assert "memory ran out" in notes[0]
    assert store.budget < 2**30


def test_one_prompt_that_does_not_fit_is_told(llama: Parties) -> None:
    backend = llama.backends["cone"]
    store = Store(2**30)
    with limits_kept(backend):
        backend.at_once = 4
        with Small(64, ERRORS["CPU"]), pytest.raises(RunFailure) as failure:
            work(Retrying(backend, store), store)
    assert "not enough memory to run one prompt" in failure.value.message
    assert failure.value.help


def test_other_errors_are_not_taken_for_it(llama: Parties) -> None:
    backend, store = llama.backends["cone"], Store(2**30)
    before = backend.at_once
    with (
        Small(64, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied")),
        pytest.raises(RuntimeError, match="mat1"),
    ):
        work(Retrying(backend, store), store)
    assert backend.at_once == before


TRAINED = (
    PRELUDE
    + """
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 2, batch: 7, dim: 2)
subspace w = das(mlp, on: flip.train, epochs: 2, batch: 7, objective: logit_diff)
subspace g = gradient(mlp, of: logit_diff, on: flip.train)
"""
)


class Remembered(torch.autograd.Function):
    """Passes numbers on; memory for the way back runs out if they are more than a few."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if gradient.numel() > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient


def test_training_goes_on_in_pieces_of_a_batch(tmp_path: Path) -> None:
    world, found = make_world(tmp_path), []
    program = Checker(Source("case.cpatch", TRAINED), world / "case.cpatch").check()
    for short in (False, True):
        session = open_session(
            program, compile_program(program), Settings(dtype="float64"), lambda *_: None
        )
        backend = session.backends["cone"]
        if short:
            run = backend.run
            backend.run = lambda wanted, run=run: Remembered.apply(run(wanted))
        interpret(session)
        assert any("memory" in note for note in session.notes) == short
        found.append(session)
    plain, pieces = found
    for name in "vwg":
        key = plain.graph.key_of(name)
        assert (plain.values[key].vectors - pieces.values[key].vectors).abs().max() < 1e-9
        fits = [session.training.get(key) for session in found]
        losses = [list(fit.losses) if fit else [] for fit in fits]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_training_does_without_copies_of_matrices(tmp_path: Path) -> None:
    """They only make it faster: where they leave no room, they go first."""
    text = PRELUDE + "subspace v = das(mlp_hidden[1] @ END, on: flip.train, epochs: 40, batch: 7)\n"
    world, found, laid_out = make_world(tmp_path), [], []
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    for short in (False, True):
        session = open_session(
            program, compile_program(program), Settings(dtype="float64"), lambda *_: None
        )
        backend = session.backends["cone"]

        def run(
            wanted: Any, backend: Any = backend, run: Any = backend.run, short: bool = short
        ) -> Any:
            answer = run(wanted)
            packed = any(linear.packing for linear in backend.decoder.linears())
            laid_out.append(packed)
            if packed and short:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return answer

        backend.run = run
        interpret(session)
        assert any("memory" in note for note in session.notes) == short
        found.append(session.values[session.graph.key_of("v")].vectors)
        assert any(laid_out)
        laid_out.clear()
    assert (found[0] - found[1]).abs().max() < 1e-9


LIMITED = """
import resource, sys
import torch
from pathlib import Path
from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.memory.retry import Retrying
from causaldsl.engine.memory.store import Store
from causaldsl.model.shapes import shapes_from_config
from transformers import AutoModelForCausalLM
import json
torch.set_num_threads(1)
folder = Path(sys.argv[1])
module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
shapes = shapes_from_config("llama", json.loads((folder / "config.json").read_text()), "none")
backend = ConeBackend(module, shapes, at_once=2**18)
tokens = torch.randint(90, (1500, 48), generator=torch.Generator().manual_seed(0))
few = logits_of(backend, backend.clean(CleanPass(tokens[:4])), columns=tokens[:4, :2])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 50 * 2**20,) * 2)
notes = []
retrying = Retrying(backend, Store(2**20), notes.append)
logits = logits_of(retrying, retrying.clean(CleanPass(tokens)), columns=tokens[:, :2])
assert (logits[:4] - few).abs().max() < 1e-4
print(backend.at_once, notes[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_process_that_may_not_grow(llama: Parties, tmp_path: Path) -> None:
    """With 50 MB more than it has; all prompts at once take more for their attention alone."""
    from tests.tiny import tiny_folder

    folder = tiny_folder(tmp_path, "llama")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    at_once, note = done.stdout.split(" ", 1)
    assert 48 <= int(at_once) < 2**18
    assert "memory ran out" in note


def test_a_limit_that_no_pass_reached_is_not_what_is_halved(llama: Parties) -> None:
    """On a GPU the limit is far above what a pass has: half of it would change nothing."""
    backend, store, notes = llama.backends["cone"], Store(2**30), []
    with limits_kept(backend):
        backend.at_once = 2**16
        with Small(float("inf"), ERRORS["CUDA"]) as small:
            wanted = work(Retrying(backend, Store(2**30)), Store(2**30))
        backend.at_once = 2**16
        with Small(small.largest // 2, ERRORS["CUDA"]):
            found = work(Retrying(backend, store, notes.append), store)
        assert backend.at_once <= N * LENGTH // 2
        assert store.budget >= 2**30 // 16
    assert notes
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_memory_that_runs_out_outside_of_a_pass(tmp_path: Path) -> None:
    """Once: the work is made again. Always: it is said, and no traceback."""
    world = make_world(tmp_path)
    program = Checker(Source("case.cpatch", TRAINED), world / "case.cpatch").check()
    for times, goes_on in ((1, True), (100, False)):
        session = open_session(program, compile_program(program), Settings(), lambda *_: None)
        left, generator = [times], session.generator

        def short(seed: int, *labels: str, left: Any = left, made: Any = generator) -> Any:
            left[0] -= 1
            if left[0] >= 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return made(seed, *labels)

        session.generator = short  # type: ignore[method-assign]
        if goes_on:
            interpret(session)
        else:
            with pytest.raises(RunFailure, match="not enough memory for das"):
                interpret(session)


@pytest.mark.parametrize("most", [3, 0])
def test_what_is_kept_of_all_prompts_may_be_too_much(most: int, tmp_path: Path) -> None:
    """However few go through the model at a time: then there are groups of fewer prompts."""
    text = PRELUDE + "measure m on flip.test { a = patch resid_post[1] @ END  report logit_diff }"
    world = make_world(tmp_path)
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    found = []
    for short in (False, True):
        session = open_session(
            program, compile_program(program), Settings(dtype="float64"), lambda *_: None
        )
        found.append(session)
        backend = session.backends["cone"]
        if not short:
            interpret(session)
            continue
        backend.at_once = 8
        before, clean = backend.at_once, backend.clean

        def kept(wanted: CleanPass, clean: Any = clean) -> Any:
            if len(wanted.tokens) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return clean(wanted)

        backend.clean = kept
        if not most:
            with pytest.raises(RunFailure, match="not enough memory to run one prompt"):
                interpret(session)
            return
        interpret(session)
        assert backend.at_once == before
        assert session.retrying("cone").pieces == 1
        assert session.store.budget >= found[0].store.budget // 4
    key = found[0].graph.arm("m", "a")
    whole, parts = (one.values[key].columns["logit_diff"] for one in found)
    assert (whole - parts).abs().max() < 1e-9
