"""Results from a store: the same bits as without one, no pass of the model for what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl import api
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import RunFailure
from causaldsl.engine import open as opened
from causaldsl.engine import unfinished
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.hooks.backend import HooksBackend
from causaldsl.engine.weights import load
from causaldsl.engine.words import das, runs
from causaldsl.plan import chunks
from tests.engine.test_elsewhere import PROGRAMS
from tests.frontend.world import PRELUDE, make_world

SMALL = (
    PRELUDE
    + """
site h = mlp_hidden[2] @ END
subspace v = das(h, on: flip.train, epochs: 3)
subspace w = mean_difference(h, ABB, BAB, on: flip.train)
measure m on flip.test { a = patch h along v  b = patch h along w  report fldd }
measure z on flip.test { nothing = ablate mlp_hidden[2] @ END to zero along w  report fldd }
expect m.a.fldd < 2
"""
)


CHOSEN = (
    PRELUDE
    + """
sweep scan on flip.train { for h in heads: patch head[h].z @ END  report logit_diff }
measure m on flip.test { a = patch top(2, scan.logit_diff).z @ END  report logit_diff }
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("store"))


class Stop(Exception):
    """Stands for a kill: nothing of the run goes on."""


class Seen:
    """How often the model was asked for something, its weights were read, a subspace trained."""

    def __init__(self) -> None:
        self.passes = self.weights = self.trained = 0
        self.prompts: list[int] = []
        """Of each clean run."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    counts = Seen()

    def counting(owner: Any, name: str, what: str) -> None:
        before: Callable[..., Any] = getattr(owner, name)

        def counted(*given: Any, **more: Any) -> Any:
            setattr(counts, what, getattr(counts, what) + 1)
            if name == "clean":
                counts.prompts.append(len(given[1].tokens))
            return before(*given, **more)

        monkeypatch.setattr(owner, name, counted)

    for backend in (ConeBackend, HooksBackend):
        counting(backend, "clean", "passes")
        counting(backend, "run", "passes")
    counting(load, "_module", "weights")
    counting(load, "read_checkpoint", "weights")
    counting(das, "fit_together", "trained")
    return counts


def run(text: str, world: Path, store: Path | str, name: str = "p", **choices: Any) -> api.Run:
    path = world / f"{name}.cpatch"
    path.write_text(text)
    return api.run(path, store=store, **choices)


def found(made: api.Run) -> tuple[Any, ...]:
    """All that a run found, to the last bit."""
    results = json.loads(made.results.model_dump_json(exclude={"timings"}))
    results["provenance"].pop("store", None)
    subspaces = {
        name: {part: t.tolist() for part, t in tensors.items()}
        for name, tensors in made.subspaces.items()
    }
    blocks = [(b.measure, b.arm, b.metric, b.values.tobytes()) for b in made.by_pair]
    return results, subspaces, blocks


@pytest.mark.parametrize("backend", ["cone", pytest.param("hooks", marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_second_run_finds_the_same_bits_without_weights(
    name: str, backend: str, world: Path, tmp_path: Path, seen: Seen
) -> None:
    text, choices = PROGRAMS[name], {"backend": backend}
    alone = run(text, world, "none", name, **choices)
    first = run(text, world, tmp_path, name, **choices)
    assert found(first) == found(alone)
    assert alone.reused == (0, 0)
    assert first.reused[0] == 0
    seen.passes = seen.weights = seen.trained = 0
    again = run(text, world, tmp_path, name, **choices)
    assert found(again) == found(first)
    assert (seen.passes, seen.weights, seen.trained) == (0, 0, 0)
    assert again.reused == (first.reused[1], first.reused[1])
    assert not any("store" in made.results.provenance for made in (first, again))


@pytest.fixture(scope="module")
def filled(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, api.Run]:
    """A store with all of SMALL, and what the run found."""
    folder = tmp_path_factory.mktemp("filled")
    return folder, run(SMALL, world, folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fldd < 2", "fldd < -3"),
        ("expect m.a.fldd < 2", 'render m as "m.svg"'),
        ("b = patch h along w  report fldd", "b = patch h along w  report fldd, flip_rate"),
        ("report fldd }\nmeasure z", "report fldd, logit_diff }\nmeasure z"),
    ],
)
def test_what_is_said_of_kept_outcomes_runs_no_model(
    old: str, new: str, world: Path, filled: tuple[Path, api.Run], seen: Seen
) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new)
    made = run(text, world, filled[0])
    assert (seen.passes, seen.weights, seen.trained) == (0, 0, 0)
    assert found(made) == found(run(text, world, "none"))


def test_another_count_of_test_pairs_reuses_the_subspaces(
    world: Path, filled: tuple[Path, api.Run], seen: Seen
) -> None:
    text = SMALL.replace("test 6", "test 4")
    made = run(text, world, filled[0])
    assert (seen.trained, seen.weights) == (0, 1)
    assert "store" in made.results.provenance  # whose last digits may be others than alone
    assert set(seen.prompts) == {2, 4}  # of the probe and to test on: none of the 8 to train on
    assert found(made) == found(run(text, world, "none"))


@pytest.mark.parametrize(
    "choices",
    [{"seed": 1}, {"dtype": "float64"}, {"backend": "hooks"}, {"model": "tiny-gpt2"}],
)
def test_what_changes_values_reuses_none(
    choices: dict[str, Any], world: Path, filled: tuple[Path, api.Run]
) -> None:
    if name := choices.pop("model", ""):
        choices["settings"] = {"model": str(world / name)}
    assert run(SMALL, world, filled[0], **choices).reused[0] == 0


def test_other_weights_of_the_same_size_and_ends_reuse_none(
    world: Path, filled: tuple[Path, api.Run]
) -> None:
    other = world / "other-weights"
    shutil.copytree(world / "tiny-llama", other)
    path = other / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    made = run(SMALL, world, filled[0], settings={"model": str(other)})
    assert made.reused[0] == 0


def test_a_note_of_another_name_is_not_repeated(world: Path, filled: tuple[Path, api.Run]) -> None:
    """What is noted of a training has its name, so that one is made again."""
    idle = SMALL.replace("nothing = ablate mlp_hidden[2]", "nothing = patch resid_pre[0]").replace(
        "to zero along w", ""
    )
    first = run(idle, world, filled[0])
    assert any(note.startswith("z.nothing: the intervention") for note in first.results.notes)
    assert found(run(idle, world, filled[0])) == found(first)
    renamed = run(idle.replace("nothing", "other"), world, filled[0])
    assert any(note.startswith("z.other: the intervention") for note in renamed.results.notes)
    assert renamed.reused == (first.reused[1] - 1, first.reused[1])


SWEEP = (
    PRELUDE
    + "sweep s on flip.test { for l in 0..3: patch resid_post[l] @ END  report fldd }\n"
    + "measure k on flip.test { same = patch resid_pre[0] @ END  report kl }\n"
)


def test_a_long_pass_goes_on_where_it_was_stopped(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some arms of some prompts at a time, also with arms and metrics that are others by then."""
    monkeypatch.setattr(chunks.chunked, "__defaults__", (6,))
    monkeypatch.setattr(unfinished, "EVERY", 0)
    alone = run(SWEEP, world, "none")
    before, left, made = runs.group_outcomes, 0, 0

    def counted(*given: Any) -> Any:
        nonlocal left, made
        left, made = left - 1, made + 1
        if left == 0:
            raise Stop
        return before(*given)

    monkeypatch.setattr(runs, "group_outcomes", counted)
    run(SWEEP, world, tmp_path / "whole")
    whole, backwards = made, SWEEP.replace("0..3", "{3, 2, 1, 0}")
    others = [(backwards, run(backwards, world, "none")), (SWEEP.replace("fldd", "fldd, kl"), None)]
    for at in range(2, whole + 1):
        store, left, made = tmp_path / str(at), at, 0
        with pytest.raises(Stop):
            run(SWEEP, world, store)
        for text, expected in others if at == 4 else ():
            shutil.copytree(store, tmp_path / "other", dirs_exist_ok=True)
            expected = expected or run(text, world, "none")
            assert found(run(text, world, tmp_path / "other")) == found(expected)
            shutil.rmtree(tmp_path / "other")
        left, made = 0, at - 1
        again = run(SWEEP, world, store)
        assert found(again) == found(alone), at
        assert made == whole
        assert not any("parts of" in r.about()["what"] for r in ContentStore(store).records())


def test_trainings_that_were_stopped_are_not_taken_for_one_another(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that were trained together, in a program that now has them the other way round."""
    learned = [f"subspace v{i} = das(resid_post[1] @ END, on: flip.train, epochs: 3, seed: {i})\n"
               for i in (1, 2)]  # fmt: skip
    texts = [PRELUDE + "".join(order) for order in (learned, learned[::-1])]
    expected, before, saved = run(texts[1], world, "none"), ContentStore.put, 0

    def put(*given: Any, **more: Any) -> None:
        nonlocal saved
        before(*given, **more)
        saved += bool(more.get("replace") or given[-1] is True)
        if saved == 1:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(ContentStore, "put", put)
        with pytest.raises(Stop):
            run(texts[0], world, tmp_path)
    assert found(run(texts[1], world, tmp_path)) == found(expected)


def test_what_is_said_of_pairs_is_said_again(world: Path, tmp_path: Path) -> None:
    """That an interval is rough, by the name that the pairs have now; so is the training's note."""
    text = """model lm = "tiny-llama"
pairs p = jsonl("even.jsonl")
subspace v = das(resid_post[1] @ END, on: p, epochs: 1)
let a = attention(head[1.1] @ END, to: END, on: p)
"""
    for named in (text, text, text.replace("p =", "q =").replace("on: p", "on: q")):
        made = run(named, world, tmp_path)
        assert found(made) == found(run(named, world, "none"))
        (rough,) = [note for note in made.results.notes if "is rough" in note]
        assert rough.startswith("q:" if "on: q" in named else "p:")
    assert any(": q says no classes" in note for note in made.results.notes)
    there, whole = made.reused
    assert there == whole - 1  # the training is made again, whose note has the other name


def test_runs_with_one_metric_and_with_another_stay_both(
    world: Path, filled: tuple[Path, api.Run], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(filled[0], store)
    texts = [SMALL.replace("report fldd", f"report fldd, {name}") for name in ("kl", "prob")]
    for text in texts:
        run(text, world, store)
    for text in (*texts, SMALL):
        made = run(text, world, store)
        assert made.reused[0] == made.reused[1]


def test_a_value_of_other_threads_is_said_to_be_one(
    world: Path, filled: tuple[Path, api.Run]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        made = run(SMALL, world, filled[0])
    finally:
        torch.set_num_threads(before)
    assert made.reused[0] == made.reused[1]
    assert "with other threads" in made.results.provenance["store"]


def test_weights_that_change_while_they_are_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(world / "tiny-llama", tmp_path / "model")
    before = opened.load

    def changing(*given: Any) -> Any:
        path = model / "model.safetensors"
        path.write_bytes(_flip(path.read_bytes()))
        return before(*given)

    monkeypatch.setattr(opened, "load", changing)
    with pytest.raises(RunFailure, match="changed while they were read"):
        run(SMALL, world, tmp_path / "store", settings={"model": str(model)})


def _flip(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        pytest.param(lambda data: data[: len(data) // 2], marks=pytest.mark.soak),
        pytest.param(lambda data: b"", marks=pytest.mark.soak),
        None,
    ],
    ids=["flipped", "cut", "empty", "gone"],
)
def test_what_is_damaged_is_made_again_and_never_believed(
    damage: Callable[[bytes], bytes] | None,
    world: Path,
    filled: tuple[Path, api.Run],
    tmp_path: Path,
) -> None:
    """Every file of the store, three at a time, which the next run mends; and then all."""
    store = tmp_path / "store"
    shutil.copytree(filled[0], store)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    assert len(files) > 6

    def harm(path: Path) -> None:
        path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))

    for begin in range(0, len(files), 3):
        some = files[begin : begin + 3]
        for path in some:
            harm(path)
        assert found(run(SMALL, world, store)) == found(filled[1]), some
    for path in store.rglob("*"):
        if path.is_file():
            harm(path)
    assert found(run(SMALL, world, store)) == found(filled[1])


def test_a_disk_that_fills_costs_the_keeping_alone(
    world: Path, filled: tuple[Path, api.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        if data:
            raise OSError(28, "No space left on device")
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        made = run(SMALL, world, tmp_path / "full")
    assert "No space left on device" in made.unkept
    assert found(made) == found(filled[1])
    assert not [path for path in (tmp_path / "full").rglob("*") if path.is_file()]


def test_a_run_that_is_killed_anywhere_goes_on_with_the_same_bits(
    world: Path,
    filled: tuple[Path, api.Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seen: Seen,
) -> None:
    """Stopped at every write to the store, before and after the file is in its place."""
    before, left = os.replace, 0

    def replace(old: Any, new: Any) -> None:
        nonlocal left
        if "/v1/" in str(new):
            left -= 1
            if left == 0:
                raise Stop
        before(old, new)

    monkeypatch.setattr(os, "replace", replace)
    passes: list[int] = []
    for at in range(1, 100):
        store, left, seen.passes = tmp_path / str(at), at, 0
        try:
            run(SMALL, world, store)
        except Stop:
            done = seen.passes
            left, seen.passes = 0, 0
            again = run(SMALL, world, store)
            assert found(again) == found(filled[1]), at
            passes.append(done + seen.passes)
        else:
            break
    assert 10 < at < 99
    assert passes


def test_what_a_run_made_itself_is_not_from_the_store(world: Path, tmp_path: Path) -> None:
    """The first stage, which finds what is on top, puts its sweep there for the second."""
    first = run(CHOSEN, world, tmp_path)
    assert first.reused[0] == 0 < first.reused[1]
    again = run(CHOSEN, world, tmp_path)
    assert again.reused == (first.reused[1], first.reused[1])
    other = run(CHOSEN.replace("top(2", "top(3"), world, tmp_path)
    assert 0 < other.reused[0] < other.reused[1]
    assert found(other) == found(run(CHOSEN.replace("top(2", "top(3"), world, "none"))
