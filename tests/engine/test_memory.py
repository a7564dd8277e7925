"""The memory budget: what is kept beyond it goes to files, and no number changes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.check.program import Checker
from causaldsl.cli import main
from causaldsl.diagnostics import RunFailure, Source
from causaldsl.engine import session as sessions
from causaldsl.engine.edits import Read
from causaldsl.engine.interpret import interpret
from causaldsl.engine.memory.free import free_bytes
from causaldsl.engine.memory.store import Store, readable
from causaldsl.engine.open import open_session
from causaldsl.engine.recorded import RecordedActivations
from causaldsl.engine.records import gather
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.sites import Site
from tests.frontend.world import PRELUDE, make_world

TINY = 100_000
"""A budget in bytes that holds a few prompts."""

# Prompts of two lengths; a base run that is patched, trained on, traced and read.
PROGRAM = (
    PRELUDE.replace("  slots", '  test "{X} and {Y} went and then {Z} said"\n  slots').replace(
        "test 6", "test 9"
    )
    + """
site resid = resid_post[1] @ END
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 2, batch: 5)
subspace g = gradient(resid, of: logit_diff, on: flip.train)
subspace best = best_neurons(mlp, on: flip.train, k: 3)
path heads_of = v -> heads[3].q @ END -> logits { freeze attention  layernorm recompute }
measure m on flip.test {
  whole = patch mlp
  in_part = patch mlp along v
  two = patch resid along g + patch mlp along best
  early = ablate resid_post[0] @ S2 to resample
  along_the_path = heads_of
  report logit_diff, fldd, flip_rate, kl
}
trace t = patch mlp along v to logit_diff on flip.test { through heads[3], mlps[3] top 3 }
histogram h on flip.test {
  plain = v at mlp
  moved = g at resid_post[3] @ END with patch mlp along v
}
let r2 = ridge_r2(mlp, target: random(resid), at: resid, on: flip.train)
"""
)
SHORT = "".join(  # whole passes for every trace would take minutes
    line
    for line in PROGRAM.splitlines(keepends=True)
    if not line.startswith(("trace", "path", "  along_the_path", "  early", "let"))
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("memory"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def opened(world: Path, memory: int | None, text: str = PROGRAM, **settings: str) -> Session:
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    chosen = Settings(dtype="float64", resamples=100, memory=memory, **settings)
    return open_session(program, compile_program(program), chosen, lambda *_: None)


def numbers(session: Session, text: str, world: Path) -> dict[tuple[object, ...], object]:
    """Every leaf of the results by its path, but for times and notes."""
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    found = gather(program, session, 0.0).model_dump()
    return dict(leaves({k: v for k, v in found.items() if k not in ("timings", "notes")}))


def leaves(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_a_tiny_budget_changes_no_number(backend: str, world: Path, files: Path) -> None:
    text = {"cone": PROGRAM, "hooks": SHORT}[backend]
    budget = {"cone": TINY, "hooks": TINY // 20}[backend]  # hooks keep only what is read
    plain, tight = (opened(world, memory, text, backend=backend) for memory in (2**30, budget))
    seen: set[Path] = set()
    tight.progress = lambda *_: seen.update(files.rglob("*.clean"))
    for session in (plain, tight):
        interpret(session)
    assert plain.store.written == 0
    assert len(seen) > 5, "files were written"
    assert not list(files.iterdir()), "and are gone"
    wanted, found = numbers(plain, text, world), numbers(tight, text, world)
    assert wanted.keys() == found.keys()
    for path, number in wanted.items():
        if path == ("provenance", "memory"):
            assert (number, found[path]) == (2**30, budget)
        elif isinstance(number, float):
            assert found[path] == pytest.approx(number, rel=1e-11, abs=1e-12, nan_ok=True), path
        else:
            assert found[path] == number, path


def test_groups_are_few_while_everything_fits(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PromptRuns] = []

    class Counted(PromptRuns):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(sessions, "PromptRuns", Counted)
    for memory, groups in ((2**30, {1}), (TINY, {2, 3, 4, 5, 6, 7, 8, 9})):
        made.clear()
        session = opened(world, memory)
        clean = [k for k in session.graph.order() if session.graph.operation(k).label == "clean"]
        interpret(session)
        bases = [runs for runs in made if runs.side == "base" and len(runs.prompts) == 9]
        assert {len(runs.groups) for runs in bases} <= groups
        assert len(bases) == 1, f"a clean run is made once, and kept until its last use: {clean}"


def test_clean_runs_are_let_go_after_their_last_use(world: Path) -> None:
    session = opened(world, 2**30)
    held: list[int] = []
    keep = session.keep

    def counting(keys: Sequence[str], values: Sequence[Any]) -> None:
        keep(keys, values)
        held.append(len(session._clean))

    session.keep = counting  # type: ignore[method-assign]
    interpret(session)
    assert max(held) < 4, "of the four, those of flip.train are gone when flip.test is run"
    assert held[-1] == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunFailure("no")])
def test_nothing_stays_on_disk_when_a_run_is_stopped(
    error: BaseException, world: Path, files: Path
) -> None:
    session = opened(world, TINY)

    def stop(what: str, done: int, total: int) -> None:
        if list(files.rglob("*.clean")):
            raise error

    session.progress = stop
    with pytest.raises(type(error)):
        interpret(session)
    assert not list(files.iterdir())


def test_a_full_disk_is_told(world: Path, files: Path) -> None:
    session = opened(world, TINY)
    session.store._new_file = lambda: files / "nowhere" / "x.clean"  # type: ignore[method-assign]
    with pytest.raises(RunFailure, match=r"can't keep clean runs in .*nowhere") as failure:
        interpret(session)
    assert "--memory" in (failure.value.help or "")


def test_the_command_takes_a_size_and_notes_what_went_to_files(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = world / "memory.cpatch"
    program.write_text(
        PRELUDE + "measure m on flip.test { a = patch resid_post[0] @ END  report fldd }\n"
    )

    def notes(size: str) -> list[str]:
        """Those about memory."""
        out = tmp_path / size
        assert main(["run", str(program), "--memory", size, "--out", str(out)]) == 0
        found = json.loads((out / "results.json").read_text())["notes"]
        return [note for note in found if "memory" in note]

    (note,) = notes("2K")
    assert note.startswith("kept ")
    assert "in files: give --memory" in note
    enough = note.split("--memory ")[1].split()[0]
    assert notes("1G") == notes(enough) == []
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(program), "--memory", "lots"])
    assert stopped.value.code == 2
    assert "'lots' is not an amount of memory: write 800M or 4G" in capsys.readouterr().err


@dataclass
class Run:
    """A clean run with a bit of everything."""

    tokens: Tensor
    keys: dict[int, Tensor]
    kept: RecordedActivations
    empty: Tensor
    one: tuple[Tensor, int]

    def read(self, read: Read) -> Tensor:
        return self.kept.find(read)


Run.__module__ = "causaldsl.engine.tests"  # as those that backends make
POSITIONS = torch.arange(6)[:, None]
SITE = Site("resid_post", 1)


def a_run(seed: int = 0, dtype: torch.dtype = torch.float32) -> Run:
    draw = torch.Generator().manual_seed(seed)
    kept = RecordedActivations()
    kept.add(Read(SITE, POSITIONS), torch.randn(6, 1, 5, generator=draw).to(dtype))
    keys = {layer: torch.randn(6, 2, 3, 4, generator=draw).to(dtype) for layer in (3, 4)}
    first = torch.randn(6, generator=draw).to(dtype)
    return Run(torch.randint(9, (6, 4)), keys, kept, torch.empty(0), (first, 7))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [None, [4, 0, 1, 2, 0], [5], [], [[3, 3], [5, 0]]])
def test_what_is_stored_comes_back_bit_by_bit(
    dtype: torch.dtype, rows: list | None, files: Path
) -> None:
    run = a_run(dtype=dtype)
    store = Store(0)
    stored = store.put(run, "a")
    assert torch.equal(stored.read(Read(SITE, POSITIONS)), run.read(Read(SITE, POSITIONS)))
    taken = None if rows is None else torch.tensor(rows, dtype=torch.long)
    back, left = store.open(stored, taken)
    assert back is not run
    chosen = torch.arange(6) if taken is None else taken
    left = torch.arange(len(back.tokens)) if left is None else left
    assert len(back.tokens) == len(chosen.unique()), "no more than is meant"
    assert torch.equal(back.tokens[left], run.tokens[chosen])
    (read,) = back.kept._values[SITE]
    assert torch.equal(read[0][left], POSITIONS[chosen])
    assert torch.equal(read[1][left], run.read(Read(SITE, POSITIONS))[chosen])
    for layer in run.keys:
        assert torch.equal(back.keys[layer][left], run.keys[layer][chosen])
        assert back.keys.get(layer).dtype == dtype
    assert back.keys.get(9) is None
    assert torch.equal(back.one[0][left], run.one[0][chosen])
    assert back.one[1] == 7
    assert len(back.empty) == 0
    store.close()
    assert not list(files.iterdir())


def test_only_what_is_asked_for_is_read(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from causaldsl.engine.memory import store as stores

    run, store = a_run(), Store(0)
    stored = store.put(run, "a")
    slots: list[int] = []
    read = stores._read

    def counting(path: Path, slot: stores.Slot, taken: Tensor | None) -> Tensor:
        slots.append(slot.row_bytes)
        return read(path, slot, taken)

    monkeypatch.setattr(stores, "_read", counting)
    back, _ = store.open(stored, None)
    slots.clear()
    assert torch.equal(back.keys[4], run.keys[4])
    assert back.keys[4] is back.keys[4]
    assert slots == [2 * 3 * 4 * 4]


def test_who_goes_to_files(files: Path) -> None:
    size = Store(2**30).put(a_run(), "a").size
    store = Store(4 * size)  # room for three
    first, second, third = (store.put(a_run(), owner) for owner in "aab")
    assert all(run.run is not None for run in (first, second, third))
    fourth = store.put(a_run(), "b")
    assert (first.run, fourth.run is None) == (None, False), "those unused for longest go"
    store.open(first, None)  # comes back, and b has to make room
    assert first.run is not None
    assert [third.run, fourth.run].count(None) == 1
    more = [store.put(a_run(), "a") for _ in range(3)]
    assert [run.run is None for run in (first, second)] == [False, False]
    assert [run.run is None for run in more] == [False, True, True], "not one's own"
    assert sum(run.size for run in store._kept if run.run is not None) <= store.resident_bytes
    store.drop("a")
    assert {run.owner for run in store._kept} == {"b"}
    assert not any(run.path and run.path.exists() for run in more)


def test_what_a_training_keeps_is_taken_out_of_the_budget(files: Path) -> None:
    size = Store(2**30).put(a_run(), "a").size
    store = Store(8 * size)  # room for six
    runs = [store.put(a_run(), "a") for _ in range(2)]
    with store.lend() as lent:
        assert lent == 4 * size
        assert all(run.run is not None for run in runs)
    runs += [store.put(a_run(), "a") for _ in range(4)]
    with store.lend() as lent:
        assert lent == 3 * size
        assert [run.run is None for run in runs].count(True) == 3
        store.open(runs[0], None)
        assert sum(run.size for run in runs if run.run is not None) <= 3 * size
    for run in runs:
        store.open(run, None)
    assert all(run.run is not None for run in runs)


def test_sizes_and_free_memory() -> None:
    assert [readable(n) for n in (12, 2048, 150 * 2**20, int(2.14 * 2**30))] == [
        "12 B",
        "2.0 KB",
        "150 MB",
        "2.1 GB",
    ]
    assert 2**20 < free_bytes("cpu") < 2**50
