"""Every family, every site, on both backends and by raw hooks: the same numbers in float64."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from causaldsl.engine.weights import bridge
from tests.families import matrix
from tests.families.arms import Arm, At, Do
from tests.families.bench import BACKENDS, ONE_LENGTH, PRELUDE, Bench, bench, problems
from tests.families.models import FAMILIES, ON_HOOKS

LENGTHS = ("ablations", "stretches", "joined")
"""Groups with means over prompts, values of others, and several positions."""


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bench]:
    return {}


def _bench(benches: dict[str, Bench], factory: pytest.TempPathFactory, name: str) -> Bench:
    if name not in benches:
        benches.clear()  # one family at a time: its tests stand together
        benches[name] = bench(factory.mktemp(name), name)
    return benches[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_site_once(
    name: str, benches: dict[str, Bench], tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, found = _bench(benches, tmp_path_factory, name), {}
    turn = 2 * list(FAMILIES).index(name)
    for i, (backend, one.prelude) in enumerate((("hooks", ONE_LENGTH), ("cone", PRELUDE))):
        made = matrix.once(one.model, turn + i)
        found[backend] = problems(one, made.arms, list(made.directions.values()), backend)
    assert found == {backend: [] for backend in BACKENDS}
    assert bool(one.serves_cone()) == (name in ON_HOOKS)


@pytest.mark.soak
@pytest.mark.parametrize("group", matrix.GROUPS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_arm(
    name: str, group: str, benches: dict[str, Bench], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Hooks take a pass for each arm and length: several lengths where those mean something."""
    one, found = _bench(benches, tmp_path_factory, name), {}
    made = matrix.GROUPS[group](one.model)
    for backend in BACKENDS:
        one.prelude = PRELUDE if backend == "cone" or group in LENGTHS else ONE_LENGTH
        found[backend] = problems(one, made.arms, list(made.directions.values()), backend)
    if one.model.multiplier != 1:
        found["hooks"] = [line for line in found["hooks"] if "to exactly 0 by hooks" not in line]
    assert found == {backend: [] for backend in BACKENDS}


def test_what_only_rounding_would_say_is_refused(tmp_path: Path) -> None:
    """Nothing is left of a stream that is set to 0, but for an error that a norm blows up."""
    one = bench(tmp_path, "granite")
    arm = Arm((Do("zero", At("resid_mid", 1, None, "all")),))
    assert problems(one, [arm], [], "cone") == []
    (said,) = problems(one, [arm], [], "hooks")
    assert "to exactly 0 by hooks" in said


@pytest.mark.parametrize("name", ["llama", "mixtral", "phi"])
def test_there_are_enough_arms(
    name: str, benches: dict[str, Bench], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert len(FAMILIES) >= 36
    assert matrix.count(_bench(benches, tmp_path_factory, name).model) >= 90


def test_hooks_that_would_show_another_model_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TransformerLens's own attention adds the ALiBi of a Falcon twice."""
    monkeypatch.setattr(bridge, "_alibi_of_falcon", lambda form, made: None)
    one = bench(tmp_path, "falcon_alibi")
    (said,) = problems(one, matrix.every_site(one.model).arms[:1], [], "hooks")
    assert "RunFailure" in said
    assert "own logits" in said


def test_the_oracle_knows_nothing_of_ours() -> None:
    """Neither it nor what it imports of the tests imports causaldsl."""
    folder, left, seen = Path(__file__).parent, ["oracle", "anatomy", "arms", "models"], set()
    while left:
        module = left.pop()
        seen.add(module)
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            else:
                continue
            assert not any(name.split(".")[0] == "causaldsl" for name in names), module
            inner = [n.removeprefix("tests.families.") for n in names if n.startswith("tests.")]
            left += [n for n in inner if (folder / f"{n}.py").is_file() and n not in seen]
    assert {"oracle", "anatomy"} <= seen
