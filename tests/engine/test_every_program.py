"""Every shipped program, made small, on both backends: all numbers that it leaves are the same.

In float64 on a random model of SmolLM2's layout, to 1e-9; in float32 on SmolLM2 itself, to 1e-3 in
logits. Programs are found in the folder, so a new one is tested too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import check_file
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.catalog import catalog
from causaldsl.vocabulary.learned import Das
from tests.engine.same import differences
from tests.engine.small import shrink, thin
from tests.tiny import deep_folder

PROGRAMS = Path(__file__).parents[2] / "programs"
NAMES = sorted(path.name for path in PROGRAMS.glob("*.cpatch"))
DEAR = {
    "audit.cpatch",
    "das_by_neurons.cpatch",
    "features.cpatch",
    "ioi_circuit.cpatch",
    "mlp_in_the_middle.cpatch",
    "mlp_pathways.cpatch",
    "null_and_row.cpatch",
    "output_distribution.cpatch",
    "position_direction.cpatch",
    "random_mlp.cpatch",
    "recoverability.cpatch",
    "recoverability_causes.cpatch",
    "units.cpatch",
}
"""Long on SmolLM2 under hooks, small as they are; of the main program there is
test_main_program.py."""
DEAREST = {
    "audit.cpatch",
    "das_by_neurons.cpatch",
    "features.cpatch",
    "ioi_circuit.cpatch",
    "mlp_pathways.cpatch",
    "position_direction.cpatch",
}
"""Long in double precision too; what is in them alone has tests of its own on both backends."""
needs_model = pytest.mark.skipif(
    not next(entry.present for entry in catalog() if entry.name == "smollm2-135m"),
    reason="smollm2-135m is not on this machine: causaldsl models pull smollm2-135m",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs with smaller numbers in them."""
    folder = tmp_path_factory.mktemp("small")
    shrink(PROGRAMS, folder, pairs=3, texts=6)
    return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small programs, and a narrow model of SmolLM2's layout with their words as tokens."""
    folder = tmp_path_factory.mktemp("deep")
    shrink(PROGRAMS, folder, pairs=3, texts=6)
    pairs = (folder / "eiffel.jsonl").read_text()
    (folder / "eiffel.jsonl").unlink()
    # As many words as the Eiffel Tower: the program sweeps over all token positions.
    (folder / "eiffel.jsonl").write_text(pairs.replace("Colosseum", "Colosse Hall"))
    files = [*folder.glob("*.cpatch"), *folder.glob("*.jsonl"), *folder.glob("lexicons/*.txt")]
    words = {word for file in files for word in re.findall("[A-Za-z]+", file.read_text())}
    deep_folder(folder, sorted(words), seed=1)
    return folder


def checked(path: Path, model: Path | None = None) -> CheckedProgram:
    """The program, thinned; on another model, unless it is about a toy."""
    toy = '"toy/' in path.read_text()
    settings = {} if toy or model is None else {"model": str(model)}
    program = thin(check_file(path, lambda message: None, settings), cells=1, components=1)
    check_small(program)
    return program


def check_small(program: CheckedProgram) -> None:
    """That making it small has worked, also for a program that is written tomorrow."""
    sets = [p for f in program.families.values() for p in (f.train, f.test, f.whole) if p]
    assert all(len(pairs) <= 12 for pairs in sets)
    words = [part.word for applied in program.named.values() for part in applied.walk()]
    assert all(word.epochs == 1 for word in words if isinstance(word, Das))
    assert sum(len(measurement.runs) for measurement in program.measurements.values()) <= 30
    assert all(len(t.components) <= 6 and t.top <= 2 for t in program.traces.values())
    assert all(len(audit.runs) <= 16 for audit in program.audits.values())


def run(program: CheckedProgram, backend: str, dtype: str) -> Session:
    settings = Settings(backend=backend, dtype=dtype, resamples=200)
    session = open_session(program, compile_program(program), settings, lambda *_: None)
    interpret(session)
    return session


def check_same(program: CheckedProgram, dtype: str, tolerance: float) -> None:
    cone, hooks = (run(program, backend, dtype) for backend in ("cone", "hooks"))
    assert differences(program, cone, hooks, tolerance) == []


def without(long: set[str]) -> list[Any]:
    """All programs; the long ones in the long tests."""
    return [pytest.param(n, marks=pytest.mark.soak if n in long else ()) for n in NAMES]


@pytest.mark.parametrize("name", without(DEAREST))
def test_in_double_precision(name: str, deep: Path) -> None:
    check_same(checked(deep / name, deep / "deep"), "float64", 1e-9)


def test_a_small_difference_is_found(small: Path) -> None:
    program = checked(small / "toy_illusion_rotated.cpatch")
    one, other = (run(program, "hooks", "float64") for _ in range(2))
    assert differences(program, one, other, 1e-9) == []
    key = one.graph.arm("on_average", "along_v")
    one.values[key].logit_diff[0] += 3e-9 * float(one.values[key].logit_diff.abs().max())
    e3 = one.values[one.graph.key_of("e3")]
    e3.vectors[1] *= -1
    found = differences(program, one, other, 1e-9)
    assert len(found) == 2
    assert found[0].startswith("vector")
    assert found[1].startswith("patched_run")
    one.values[one.graph.key_of("one_to_two")]["plane"]["output"] = Estimate(1.1, 1, 1, 1)
    assert ".measures.one_to_two.plane.output.mean: 1.1 and " in "\n".join(
        differences(program, one, other, 1e-9)
    )


@needs_model
@pytest.mark.parametrize("name", without(DEAR))
def test_on_smollm2(name: str, small: Path) -> None:
    if '"toy/' in (small / name).read_text():
        pytest.skip("a toy model is always float64")
    check_same(checked(small / name), "float32", 1e-3)
