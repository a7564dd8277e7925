"""Equal keys mean equal values: what a value depends on enters its key."""

from __future__ import annotations

import itertools
import math
import shutil
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from causaldsl.check.program import check_file
from causaldsl.engine.interpret import interpret
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session, Settings
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.compiler import compile_program
from causaldsl.model.folders import weights_digest
from causaldsl.plan.numerics import Numerics, numerics_of
from tests.frontend.world import PRELUDE, make_world

PROGRAM = (
    PRELUDE
    + """
site h = mlp_hidden[2] @ END
subspace v = das(h, on: flip.train, epochs: 1)
subspace r = random(h, seed: 3)
subspace n = neurons(h, [1, 5])
let alike = cos(v, r)
let fixed = norm(n)
measure m on flip.test {
  a = patch h along v
  b = ablate resid_post[1] @ END to resample
  report fldd, kl
}
expect m.a.fldd < 2
"""
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"seed": 1},
    {"dtype": "float64"},
    {"backend": "hooks"},
    {"resamples": 60},
    {"dtype": "float64", "backend": "hooks", "seed": 1},
    {"memory": 4000},
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("keys"))
    (folder / "p.cpatch").write_text(PROGRAM)
    return folder


def run(path: Path, **settings: Any) -> tuple[Session, Numerics]:
    program = check_file(path)
    chosen = Settings(**{"resamples": 50, **settings})
    session = open_session(program, compile_program(program), chosen, lambda *_: None)
    interpret(session)
    return session, numerics_of(chosen, program.model)


def plain(value: Any) -> Any:
    """A value as plain data."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, SubspaceValue):
        return value.vectors.tolist()
    if isinstance(value, Outcome):
        return {name: plain(part) for name, part in value.columns.items()}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return asdict(value) if is_dataclass(value) else value


def close(one: Any, other: Any) -> bool:
    """Equal, numbers but for their rounding; what is withheld in one is so in the other."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5)
    return bool(one == other)


def by_key(path: Path, **settings: Any) -> dict[str, Any]:
    """The value of every operation that has one at the end, by its value's key."""
    session, numerics = run(path, **settings)
    operations = [key for key in session.graph.network if key in session.values]
    return {numerics.key_of([key]): plain(session.values[key]) for key in operations}


def test_whatever_two_settings_are_equal_keys_have_equal_values(world: Path) -> None:
    runs = [by_key(world / "p.cpatch", **settings) for settings in SETTINGS]
    for one, other in itertools.combinations(runs, 2):
        for key in one.keys() & other.keys():
            assert close(one[key], other[key]), key
    assert runs[0].keys() == runs[-1].keys()  # the budget of memory changes no value
    assert not any(runs[0].keys() & other.keys() for other in runs[1:-1])


def test_a_change_in_the_middle_of_the_weights_changes_the_keys(world: Path) -> None:
    copy = world / "copied"
    shutil.copytree(world / "tiny-llama", copy)
    before = weights_digest(copy)
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert weights_digest(copy) != before
