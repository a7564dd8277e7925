"""A model whose blocks lie on two devices gives what it gives on one, in every family."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.open import Backends
from causaldsl.engine.weights.load import load
from causaldsl.engine.weights.places import places
from causaldsl.model.catalog import resolve
from tests.elsewhere import SEVERAL, elsewhere
from tests.families.models import FAMILIES, ON_HOOKS, family_folder
from tests.families.test_prefixes import made_by, prompts

USUAL = ("falcon_alibi", "gemma2", "gpt2", "gpt_neox", "gpt_oss", "llama", "mistral", "opt")
"""With each kind of attention, MLP and position; the others come in the long tests."""


@pytest.mark.parametrize(
    "name",
    [
        name if name in USUAL else pytest.param(name, marks=pytest.mark.soak)
        for name in FAMILIES
        if name not in ON_HOOKS
    ],
)
def test_one_device_and_two(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))
    spec = resolve(str(family_folder(tmp_path, name)), tmp_path)
    wanted = made_by(
        ConeBackend(load(spec, dtype="float64").hf, spec.shapes), prompts(), spec.shapes
    )
    with elsewhere():
        loaded = load(spec, ",".join(SEVERAL), "float64")
        cone = Backends(loaded, notes := [])["cone"]
        assert isinstance(cone, ConeBackend)
        assert notes == []
        assert [str(device) for device in cone.decoder.devices] == list(SEVERAL)
        found = made_by(cone, prompts().to(SEVERAL[0]), spec.shapes)
        apart = [float((a.cpu() - b).abs().max()) for a, b in zip(found, wanted, strict=True)]
    assert max(apart) < 1e-9


SIZES = {
    "model.embed.weight": 4,
    **{f"model.layers.{i}.mlp.experts.0.weight": 2 for i in range(4)},
    "lm_head.weight": 4,
}
"""16 bytes, half of them in blocks."""


@pytest.mark.parametrize(
    ("free", "wanted"),
    [
        ({"a": 100, "b": 100}, "bbbb"),
        ({"a": 300, "b": 100}, "aabb"),
        ({"a": 100, "b": 50, "c": 50}, "bbcc"),
        ({"a": 1000, "b": 1}, "aaaa"),
    ],
)
def test_blocks_follow_the_free_memory(free: dict[str, int], wanted: str) -> None:
    place = places(SIZES, 4, free)
    assert "".join(place(f"model.layers.{i}.mlp.experts.0.weight") for i in range(4)) == wanted
    assert place("model.embed.weight") == place("lm_head.weight") == "a"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RunFailure, match=r"a, b have 0\.0 GB free"):
        places(SIZES, 4, {"a": 8, "b": 7})


@pytest.mark.parametrize("named", ["meta,meta:0", "meta:1,meta:1", "cpu,meta"])
def test_devices_are_different_ones_of_a_kind(named: str, tmp_path: Path) -> None:
    spec = resolve(str(family_folder(tmp_path, "llama")), tmp_path)
    with pytest.raises(RunFailure, match="different ones of one kind"):
        load(spec, named)


def test_the_module_itself_is_had_on_one_device_alone(tmp_path: Path) -> None:
    spec = resolve(str(family_folder(tmp_path, "llama")), tmp_path)
    with elsewhere():
        loaded = load(spec, ",".join(SEVERAL))
        with pytest.raises(RunFailure, match="needs the model whole"):
            loaded.bridge  # noqa: B018
