"""Every experiment runs on another architecture: a random GPT-2 with its own layer and tokenizer.

Its claims fall there or stay undecided, since a random model does no task; nothing else may go
wrong.
"""

import json
import re
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.tiny import tiny_folder

PROGRAMS = Path(__file__).parents[2] / "programs"
EXPERIMENTS = [path for path in PROGRAMS.glob("*.cpatch") if "param layer" in path.read_text()]

PLACES = {"layer": 1, "movers": 2, "mover": 3, "feeding": 0, "feeder": 2, "reach": 2}
"""Layers and heads that the programs name, for a model of 4 layers of 4 heads."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 for which every word of the prompts is one token but Ella, as in GPT-2."""
    texts = [*PROGRAMS.glob("lexicons/*.txt"), PROGRAMS / "ioi.cpatch"]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+", text.read_text())}
    words.remove("Ella")
    return tiny_folder(tmp_path_factory.mktemp("other"), "gpt2", words=sorted(words), hidden=2048)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs with fewer pairs and epochs."""
    copy = tmp_path_factory.mktemp("programs")
    for path in PROGRAMS.rglob("*"):
        if path.suffix in (".cpatch", ".txt"):
            text = path.read_text()
            if path.suffix == ".cpatch":
                text = re.sub(r"\b(train|test) [1-9]\d+", r"\1 8", text)
                text = re.sub(r"\bepochs: \d+", "epochs: 1", text)
                text = re.sub(r"\blr: ([\d.]+)\)", r"lr: \1, epochs: 1)", text)
                text = re.sub(r"param (n|m|half|n_train|n_test) = \d+", r"param \1 = 8", text)
            there = copy / path.relative_to(PROGRAMS)
            there.parent.mkdir(exist_ok=True)
            there.write_text(text)
    return copy


def test_there_are_experiments() -> None:
    assert len(EXPERIMENTS) >= 5


@pytest.mark.parametrize("name", sorted(path.name for path in EXPERIMENTS))
def test_an_experiment_runs_on_a_random_gpt2(
    name: str, small: Path, folder: Path, tmp_path: Path
) -> None:
    written = (small / name).read_text()
    places = {n: v for n, v in PLACES.items() if f"param {n} =" in written}
    settings = ["--set", f"model={folder}"]
    settings += [word for n, v in places.items() for word in ("--set", f"{n}={v}")]
    code = main(["run", str(small / name), *settings, "--out", str(tmp_path / "run")])
    assert code in (0, 1, 4)
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert found["provenance"]["model"] == str(folder)
    assert {n: found["params"][n] for n in places} == places
    assert "recoverab" in name or any(": Ella" in note for note in found["notes"])
    assert any(found[part] for part in ("measures", "tables", "histograms", "audits"))
