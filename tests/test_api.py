"""The Python functions: what they give and refuse, and that the process stays as it was."""

from __future__ import annotations

import gc
import importlib
import itertools
import logging
import math
import os
import random
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import reportlab.rl_config
import torch
from safetensors.torch import load_file

import causaldsl
from causaldsl import api
from causaldsl.cli import main
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure
from causaldsl.engine.arithmetic import arithmetic
from causaldsl.engine.cone import heap
from causaldsl.model import catalog
from causaldsl.plan.settings import Progress, Settings
from causaldsl.process import owned
from causaldsl.results.records import Results
from tests.frontend.world import PRELUDE, make_world

ROOT = Path(__file__).parents[1]
TOY = ROOT / "programs/toy_illusion.cpatch"
TEXT = (
    PRELUDE
    + """
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 1)
measure m on flip.test {
  whole = patch mlp
  along_v = patch mlp along v
  hooked = patch hook("blocks.2.hook_resid_post") @ END
  report fldd, logit_diff
}
sweep s on flip.test { for l in layers: patch mlp_out[l] @ END  report fldd }
trace t = patch mlp along v to logit_diff on flip.test { top 3 }
plot s
render t as "t.pdf"
"""
)
FAILS = 'model lm = "toy/illusion"\npairs p = numbers(base: [1], source: [2])\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("api"))


@pytest.fixture
def text_program(world: Path) -> Path:
    path = world / "text.cpatch"
    path.write_text(TEXT)
    return path


def assert_same_numbers(found: Results, usual: Results) -> None:
    """To the last bit; what is withheld (nan) in one is withheld in the other."""
    assert not math.isnan(usual.measures["m"]["whole"]["logit_diff"].mean)
    assert repr(found.measures) == repr(usual.measures)


def state() -> dict[str, Any]:
    """Everything of a process that a run could change for the code around it."""
    precision = {
        f"{name}.{flag}": getattr(owner, flag)
        for name, owner in (
            ("cuda.matmul", torch.backends.cuda.matmul),
            ("cudnn", torch.backends.cudnn),
            ("mkldnn.matmul", torch.backends.mkldnn.matmul),
        )
        for flag in ("allow_tf32", "fp32_precision", "deterministic", "benchmark", "enabled")
        if hasattr(owner, flag)
    }
    loggers = {
        name: (log.level, log.disabled, log.propagate, list(log.handlers), list(log.filters))
        for name, log in logging.root.manager.loggerDict.items()
        if isinstance(log, logging.Logger)
    }
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "loggers": loggers,
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "umask": _umask(),
        "path": list(sys.path),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.excepthook, sys.displayhook),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": (torch.get_default_dtype(), torch.get_default_device()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": (precision, torch.get_float32_matmul_precision()),
        "draws": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
        "numpy": (np.geterr(), np.get_printoptions()),
        "matplotlib": dict(matplotlib.rcParams),
        "pyplot": "matplotlib.pyplot" in sys.modules,
        "reportlab": vars(reportlab.rl_config) | {"__builtins__": None},
    }


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@contextmanager
def unchanged(monkeypatch: pytest.MonkeyPatch, but: Sequence[str] = ()) -> Iterator[None]:
    """Nothing of the process is different after the block, and its allocator is never told."""
    told: list[Any] = []
    monkeypatch.setattr(heap, "_set", lambda library, options: told.append(options))
    before = state()
    yield
    after = state()
    for name, value in before.items():
        if name in but:
            continue
        if isinstance(value, dict):
            new = {k: v for k, v in after[name].items() if k not in value}
            assert {k: after[name].get(k) for k in value} == value, name
            assert name == "loggers" or not new, name
        assert name == "loggers" or after[name] == value, name
    assert not told


@pytest.fixture(scope="module")
def _imported(world: Path) -> None:
    """All is imported, which is when libraries change a process: TransformerLens how transformers
    logs, joblib draws a number, others set filters of warnings and a variable of the environment.
    """
    for library in ("transformer_lens.model_bridge", "sklearn.linear_model"):
        importlib.import_module(library)
    path = world / "first.cpatch"
    path.write_text(TEXT)
    logging.getLogger("svglib")
    with pytest.MonkeyPatch.context() as patch, unchanged(patch, but=("warnings", "environment")):
        api.run(path, out=world / "first")
        api.run(path, backend="hooks", dtype="float64")


@pytest.mark.usefixtures("_imported")
@pytest.mark.parametrize("choices", [{}, {"backend": "hooks"}, {"dtype": "bfloat16"}], ids=str)
def test_a_run_leaves_the_process_as_it_was(
    choices: dict[str, str], text_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in (TOY, text_program):
        with unchanged(monkeypatch):
            run = api.run(program, out=tmp_path / program.stem, **choices)  # type: ignore[arg-type]
        assert run.folder is not None


@pytest.mark.usefixtures("_imported")
def test_also_where_it_was_unusual(
    text_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a run finds does not depend on it."""
    usual = api.run(text_program).results
    gc.disable()
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    try:
        with (
            matplotlib.rc_context({"svg.fonttype": "path"}),
            torch.no_grad(),
            torch.autocast("cpu"),
            torch.device("meta"),
            unchanged(monkeypatch),
        ):
            found = api.run(text_program, out=tmp_path / "run").results
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_default_dtype(torch.float32)
        gc.enable()
    assert_same_numbers(found, usual)
    assert repr(found.subspaces) == repr(usual.subspaces)  # a withheld number is not itself


@pytest.mark.usefixtures("_imported")
def test_and_after_a_run_that_fails(
    world: Path, text_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in ("loading tiny-llama", "das v", "writing the run's files"):
        with unchanged(monkeypatch), pytest.raises(KeyboardInterrupt):
            api.run(text_program, out=tmp_path / "run", progress=stopping(at))
        assert list(tmp_path.iterdir()) == []
    wrong = world / "wrong.cpatch"
    wrong.write_text("site s = nowhere\n")
    with unchanged(monkeypatch), pytest.raises(ProgramError):
        api.run(wrong)
    with unchanged(monkeypatch), pytest.raises(RunFailure, match="names no model"):
        api.run("param n = 1")
    with unchanged(monkeypatch), pytest.raises(RunFailure, match="no device"):
        api.run(TOY, device="abacus")


def stopping(at: str) -> Progress:
    """Ctrl-C when this is being done."""

    def stop(what: str, done: int, total: int) -> None:
        if what == at:
            raise KeyboardInterrupt

    return stop


def test_what_a_run_draws_is_not_drawn_from_the_caller_s_generator() -> None:
    before = state()["draws"]
    with arithmetic(Settings()):
        torch.rand(3)
    assert state()["draws"] == before


def test_the_settings_of_torch_s_newer_names_come_back() -> None:
    """In a process of its own: mixing the two kinds of names can't be undone."""
    code = f"""
import torch
from causaldsl import api
if not hasattr(torch.backends, "fp32_precision"):
    raise SystemExit("older")
torch.backends.fp32_precision = "tf32"
seen = set()
def tell(what, done, total):
    seen.add((what.split()[0], torch.backends.cuda.matmul.fp32_precision))
api.run({str(TOY)!r}, progress=tell)
assert ("clean", "ieee") in seen, seen
assert torch.backends.cuda.matmul.fp32_precision == "tf32"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.stderr == "older\n":
        pytest.skip("this torch has only the older names")
    assert done.returncode == 0, done.stderr


def test_a_process_that_only_imports_and_runs() -> None:
    """Without the tests' own imports: no signal, no garbage collection, no allocator, no output."""
    code = f"""
import gc, signal, sys
import causaldsl as cd
from causaldsl.engine.cone import heap
heap._set = None
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
assert cd.run({str(TOY)!r}).held
assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
assert gc.isenabled() and gc.get_freeze_count() == 0
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_of_its_own_keeps_freed_memory(
    text_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if heap._glibc() is None:
        pytest.skip("the C library is not GNU's")
    told: list[Any] = []
    monkeypatch.setattr(heap, "_set", lambda library, options: told.append(options))
    with owned():
        api.run(text_program)
    assert told == [heap._TRAINING, heap._OTHERWISE]


def in_a_thread(what: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what).result()


def test_in_a_thread(text_program: Path, tmp_path: Path) -> None:
    run = in_a_thread(lambda: api.run(text_program, out=tmp_path / "by api"))
    assert_same_numbers(run.results, api.run(text_program).results)
    words = ["run", str(TOY), "--out", str(tmp_path / "by command")]
    assert in_a_thread(lambda: main(words)) == 0
    assert (tmp_path / "by command/report.html").is_file()


def test_runs_of_several_threads_take_turns() -> None:
    said: list[int] = []

    def run(number: int) -> bool:
        return api.run(TOY, progress=lambda what, done, total: said.append(number)).held

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(run, range(3)))
    turns = [number for number, _ in itertools.groupby(said)]
    assert sorted(turns) == [0, 1, 2]  # each said all that it had to say in one go


def test_what_a_run_gives(text_program: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "run"
    run = api.run(text_program, out=out, progress=lambda what, done, total: said.append(what))
    assert run.held
    assert run.folder == out
    assert run.results.model_dump_json(indent=1) + "\n" == (out / "results.json").read_text()
    assert run.results.program == "text.cpatch"
    assert run.program.model is not None
    assert run.graph.key_of("v") in run.graph.network
    assert run.subspaces["v"]["basis"].shape == (48, 1)
    saved = load_file(out / "subspaces/v.safetensors")
    assert all(torch.equal(saved[kind], run.subspaces["v"][kind]) for kind in saved)
    assert said[0] == "loading tiny-llama"
    assert said[-1] == "writing the run's files"


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert api.run(TOY).folder is None
    assert list(tmp_path.iterdir()) == []


def test_text_path_checked_and_compiled_are_the_same_program(
    world: Path, text_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    checked = api.check(text_program)
    for program in (TEXT, text_program, str(text_program), checked, api.compile(checked)):
        compiled = program if isinstance(program, api.Compiled) else api.compile(program)
        assert list(compiled.graph.network) == list(api.compile(TEXT).graph.network)
    assert api.plan(TEXT) == api.plan(checked)
    assert api.plan(checked, memory=2**20) != api.plan(checked)


def test_a_text_s_mistakes_have_places() -> None:
    with pytest.raises(ProgramError) as caught:
        api.check('model lm = "toy/illusion"\nsite s = nowhere\n')
    assert caught.value.diagnostics[0].span.place == "<text>:2:10"


def test_settings_are_numbers_or_texts() -> None:
    text = 'model lm = "toy/illusion"\nparam n = 1\nparam m = 0.5\n'
    assert api.check(text, settings={"n": 3, "m": 1e-7}).params == {"n": 3.0, "m": 1e-7}
    assert api.check(text, settings={"n": "3"}).params["n"] == 3.0
    assert api.check(text).params == {"n": 1.0, "m": 0.5}
    with pytest.raises(Mistake, match="no param `k`"):
        api.check(text, settings={"k": 1})
    for program in (api.check(text), api.compile(text)):
        with pytest.raises(Mistake, match="can't be set any more"):
            api.run(program, settings={"n": 2})


def test_a_checked_program_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its weights had to be fetched."""
    checked = api.check(TOY)
    toy = checked.model
    assert toy is not None
    program = replace(checked, model=toy.model_copy(update={"kind": "hub"}))
    before = program.model
    monkeypatch.setattr(catalog, "pull", lambda name, told, base: toy)
    run = api.run(program)
    assert program.model is before
    assert run.program.model == toy


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"backend": "hook"}, "unknown backend hook"),
        ({"dtype": "float16"}, "unknown dtype float16"),
        ({"seed": -1}, "a seed is a whole number from 0"),
        ({"memory": 0}, "0 bytes"),
    ],
)
def test_choices_that_do_not_exist(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        api.run(TOY, **choices)


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    latin = tmp_path / "latin.cpatch"
    latin.write_bytes(b"# caf\xe9\n")
    for missing in (tmp_path / "none.cpatch", str(tmp_path / "none.cpatch"), tmp_path):
        with pytest.raises(Mistake, match="there is no program"):
            api.check(missing)
    with pytest.raises(Mistake, match="is not UTF-8 text"):
        api.check(latin)


LOADED = (
    TEXT
    + """
sweep arms on flip.test {
  for l in 0..1, p in {S2, END}: a = patch mlp_out[l] @ p  b = ablate mlp_out[l] @ p to zero
  report logit_diff
}
sweep by_head on flip.test { for h in {0.1, 2.3}: patch head[h].z @ END  report logit_diff }
expect m.whole.fldd < 2
"""
)


def test_a_run_is_read_again_from_its_folder_without_its_model(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world / "loaded.cpatch").write_text(LOADED)
    run = causaldsl.run(world / "loaded.cpatch", out=tmp_path / "run", settings={})
    monkeypatch.setattr(catalog, "resolve", None)  # no model is looked for
    again = causaldsl.load_run(tmp_path / "run")
    assert again.results.model_dump_json() == run.results.model_dump_json()
    assert again.values.equals(run.values) or again.values.to_pylist() == run.values.to_pylist()
    assert again.measures.keys() == run.measures.keys()
    for name, numbers in run.measures.items():
        assert str(again.measures[name].rows) == str(numbers.rows)  # nan where withheld
        # The program knows which cell each arm is in, and the rows read it off the names.
        made = run.program.measurements[name]
        axes = [axis.name for axis in made.axes]
        cells = {r.name: (r.arm, *(r.coordinates or [None] * len(axes))) for r in made.runs}
        told = {tuple(row[key] for key in ("arm", *axes)) for row in numbers.rows}
        assert told == set(cells.values())
    for name, tensors in run.subspaces.items():
        assert all(torch.equal(again.subspaces[name][key], t) for key, t in tensors.items())
    (claim,) = again.claims
    assert (claim["text"], claim["verdict"]) == ("m.whole.fldd < 2", run.verdict)
    assert "m.whole.fldd &lt; 2" in again.claims._repr_html_()
    assert run.pictures["s"].svg == again.pictures["s"].svg or "svg" in again.pictures["s"].svg
    edge = again.traces["t"].edges.rows[0]
    assert edge["effect"] == run.results.traces["t"].edges[0].effect.mean
    assert edge["effect_low"] <= edge["effect"] <= edge["effect_high"]
    assert len(again.traces["t"].components) == len(run.results.traces["t"].components)
    assert (run.traces["t"]._repr_svg_() or "").startswith("<svg")
    assert repr(again).startswith("<KeptRun: 1 claims, ")
    with pytest.raises(Mistake, match="there is no"):
        causaldsl.load_run(tmp_path)
    (tmp_path / "run/results.json").write_text("{")
    with pytest.raises(Mistake, match="can't be read"):
        causaldsl.load_run(tmp_path / "run")


def test_every_public_name_is_there_and_in_the_docs() -> None:
    page = (ROOT / "docs/python.md").read_text()
    for name in causaldsl.__all__:
        assert getattr(causaldsl, name) is not None
        assert name.startswith("_") or re.search(rf"(cd\.|`){name}\b", page), name


def test_the_package_offers_the_functions_also_after_its_folders_are_imported() -> None:
    code = """
import sys
import causaldsl as cd
assert not any(name in sys.modules for name in ("causaldsl.api", "causaldsl.check", "pydantic"))
assert cd.check('model lm = "toy/illusion"').model.name == "toy/illusion"
import causaldsl.check.program
from causaldsl import check, compile, run, Run, Compiled
from causaldsl.check import program
assert cd.check is check is sys.modules["causaldsl.api"].check
assert program.check_file
assert isinstance(compile('model lm = "toy/illusion"'), Compiled)
try:
    cd.nothing
except AttributeError as error:
    assert str(error) == "module 'causaldsl' has no attribute 'nothing'"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert causaldsl.run is api.run
    assert (ROOT / "causaldsl/py.typed").is_file()


def test_the_version_is_the_package_s() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{causaldsl.__version__}"' in project


@pytest.mark.parametrize(
    ("page", "example"),
    [("README.md", r"^```python\n(.*?)^```"), ("docs/python.md", r"^```python\n(.*?)^```")],
)
def test_the_examples_of_the_docs_run(
    page: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(example, (ROOT / page).read_text(), re.M | re.S)
    assert examples
    monkeypatch.chdir(tmp_path)
    (tmp_path / "programs").symlink_to(ROOT / "programs")
    names: dict[str, Any] = {}
    for code in examples:
        exec(code, names)
