"""The toy programs against matrix arithmetic: every claim holds, every arm is v v^T by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from causaldsl.cli import main
from causaldsl.model.toy import toy

PROGRAMS = sorted((Path(__file__).parents[2] / "programs").glob("toy_*.cpatch"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_claims_and_numbers(path: Path, tmp_path: Path) -> None:
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run/results.json").read_text())["measures"]["one_to_two"]
    model = toy(path.stem.replace("toy_illusion", "toy/illusion").replace("_", "-"))
    e1, e2, e3 = model.frame.T
    base, source = 1.0, 2.0
    h_base, h_source = base * model.w_in[0], source * model.w_in[0]
    v = (e2 + e3) / np.sqrt(2)
    bases = {
        "whole": np.eye(len(e1)),
        "along_e1": e1[:, None],
        "along_e2": e2[:, None],
        "along_e3": e3[:, None],
        "along_v": v[:, None],
        "plane": np.stack([e2, e3], 1),
    }
    for arm, basis in bases.items():
        patched = h_base + basis @ basis.T @ (h_source - h_base)
        expected = float(patched @ model.w_out[:, 0])
        assert found[arm]["output"]["mean"] == pytest.approx(expected, abs=1e-12), arm
    assert found["clean"]["output"]["mean"] == pytest.approx(base)


@pytest.mark.parametrize("name", ["toy_illusion", "toy_illusion_units"])
def test_the_hidden_vector_after_each_patch(name: str, tmp_path: Path) -> None:
    """1 into -1 and -1 into 1, by matrix arithmetic in the units of the model."""
    path = Path(__file__).parents[2] / f"programs/{name}.cpatch"
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    arms = json.loads((tmp_path / "run/results.json").read_text())["histograms"]["hidden"]["arms"]
    plain = np.eye(3)
    rows = {"v": (0, 1, 1), "u": (2, 1, -1), "t": (1, -1, 1)}
    turned = np.array([np.array(row) / np.linalg.norm(row) for row in rows.values()])
    units, names = (plain, "h1 h2 h3") if name == "toy_illusion" else (turned, "v u t")
    directions = {"e1": np.array([1, 0, 0]), "v": np.array([0, 1, 1]) / np.sqrt(2)}
    checked = 0
    for measured, x in (("into_minus_one", -1), ("into_one", 1)):
        base = x * np.array([1, 1, 0])
        for arm, found in arms.items():
            prefix, _, unit = arm.rpartition("_")
            d = directions.get(prefix, np.zeros(3))
            after = units @ (base + d * (d @ (-2 * base)))
            wanted = after[names.split().index(unit)]
            assert found["classes"][measured]["mean"] == pytest.approx(wanted, abs=1e-12), arm
            checked += 1
    assert checked == 2 * len(arms) >= 12


def test_two_heads_cancel_against_matrix_arithmetic(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "programs" / "two_heads_cancel.cpatch"
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run/results.json").read_text())["measures"]
    w_in, w_out = np.array([1, 0.5**0.5, 0.5**0.5]), np.array([1, 2**0.5, -(2**0.5)])
    kept = {  # rows of the projection onto what is patched: the skip connection and both heads' z
        "skip": np.diag([1, 0, 0]),
        "both_heads": np.diag([0, 1, 1]),
        "head_0": np.diag([0, 1, 0]),
        "head_1": np.diag([0, 0, 1]),
        "illusory": np.diag([0, 1, 0]),
        "both_alike": np.array([[0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]),
        "difference": np.array([[0, 0, 0], [0, 0.5, -0.5], [0, -0.5, 0.5]]),
        "plane": np.diag([0, 1, 1]),
    }
    for measure, base, source in (("one_to_two", 1.0, 2.0), ("three_to_minus_one", 3.0, -1.0)):
        for arm in found[measure].keys() - {"clean"}:
            expected = base + (kept[arm] @ w_in) @ w_out * (source - base)
            assert found[measure][arm]["output"]["mean"] == pytest.approx(expected, abs=1e-12), arm
