"""The benchmarks run, at sizes that say nothing of speed; the page is what their results make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.elsewhere import DEVICE, elsewhere
from tests.tiny import WORDS, tiny_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[pytest.MonkeyPatch]:
    """The benchmarks are scripts: they import one another by their plain names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield patch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that has every name of the benchmarks' pairs as one token."""
    names = (ROOT / "programs/lexicons/names.txt").read_text().split()
    return tiny_folder(tmp_path_factory.mktemp("bench"), "llama", words=[*WORDS, *names])


@pytest.fixture(scope="module")
def made(
    folder: Path, scripts: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The records of all comparisons, with a peer that is not installed."""
    import peers
    from bench import QUICK, Bench
    from comparisons import COMPARISONS
    from limits import limits
    from turns import take_turns

    scratch = tmp_path_factory.mktemp("scratch")
    scripts.setattr(peers, "HOME", scratch)
    bench = Bench(str(folder), QUICK, scratch, [peers.Peer("pyvene", folder, scratch)])
    found = [
        take_turns(make(bench), 1, lambda text: None)
        | {"repetitions": 1, "date": "today", "command": "this"}
        for make in COMPARISONS.values()
    ]
    measured = limits(bench, {record["name"]: record for record in found})
    return {"comparisons": found, "limits": measured, "overhead": None}


def test_every_comparison_gives_equal_outputs(made: dict[str, Any]) -> None:
    for found in made["comparisons"]:
        own = [side for side in found["sides"] if side["name"] != "pyvene"]
        assert all(side["seconds"] > 0 for side in own), found["name"]
        if not found["name"].startswith("seeds"):  # which have nothing to compare
            assert all(0 < s["difference"] < found["tolerance"] for s in own[1:]), found["name"]


def test_limits_are_measured(made: dict[str, Any]) -> None:
    assert len(made["limits"]) == 6
    assert all(limit["flops"] > 0 and limit["share"] > 0 for limit in made["limits"])


def test_a_peer_that_is_missing_is_reported(made: dict[str, Any]) -> None:
    (missing,) = [s for s in made["comparisons"][0]["sides"] if s["name"] == "pyvene"]
    assert "not installed" in missing["error"]


def test_other_outputs_are_told(folder: Path, tmp_path: Path) -> None:
    from bench import QUICK, Bench
    from comparisons import COMPARISONS
    from turns import take_turns

    comparison = COMPARISONS["end_sweep"](Bench(str(folder), QUICK, tmp_path))
    theirs = comparison.sides[1].run

    def wrong() -> Any:
        timing = theirs()
        assert timing.output is not None
        timing.output[-1, -1] += 2e-3
        return timing

    comparison.sides[1].run = wrong  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"TransformerLens differs from ours by 0\.002"):
        take_turns(comparison, 1, lambda text: None)


def test_tables_and_page_of_what_was_measured(made: dict[str, Any]) -> None:
    from make_performance import page, quoted
    from tables import comparison_rows, limit_rows

    assert len(comparison_rows(made)) == sum(len(c["sides"]) for c in made["comparisons"])
    assert len(limit_rows(made)) == 6
    machine = {"cpu": "some", "cores": 2, "threads": 1, "torch": "2"}
    versions = {"transformer-lens": "4"}
    record = {"model": "tiny", "machine": machine}
    run = {"program": "p", "repetitions": 1, "date": "today", "command": "this", "weights": 1.0}
    run |= {"whole": 9.0, "arithmetic": 5.0, "torch": 2.0, "start_up": 2.5, "share": 0.3}
    run |= {"own_share": 0.07, "own_start_up": 0.5}
    results = made | record | {"versions": versions, "overhead": run}
    point = {"at": 2000, "pairs": 3, "tokens": 9, "check_s": 1.0, "compile_s": 1.0}
    point |= {"clean_s": 1.0, "seconds": 2.0, "model_bytes": 1, "more_bytes": 3_000_000}
    axis = {"about": "many", "points": [point], "date": "today", "command": "this"}
    text = page(results, record | {"axes": {"arms": axis}})
    assert "Many (today, `this`)." in text
    assert "| 2,000 | 3 | 9 | 2 s | 1 s | 2 s | 3 MB |" in text
    assert "`das_step_64`, pyvene: could not be measured" in text
    assert "overhead with the import of torch: 30.0% of p" in text
    assert "overhead without" not in text
    paragraph = quoted("Before.\n\nOne DAS training step took\nlong.\n\nAfter.\n", results)
    assert paragraph.startswith("Before.\n\nOne DAS training step (forward")
    assert "long.\n" not in paragraph
    assert paragraph.endswith("\n\nAfter.\n")


def test_curves_are_drawn_of_what_was_measured(tmp_path: Path) -> None:
    from make_performance import draw

    axes = json.loads((ROOT / "benchmarks/growth.json").read_text())["axes"]
    for name, axis in axes.items():
        draw(name, axis, tmp_path / f"{name}.svg")
        drawn = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        # Each measured point is a marker on each of three lines, beside those of the ticks.
        markers = list(drawn.iter("{http://www.w3.org/2000/svg}use"))
        assert len(markers) > 3 * len(axis["points"])


def test_the_page_is_what_the_results_make() -> None:
    from make_performance import FILES, PAGE, QUOTING, page, quoted

    found = {}
    for name in FILES:
        path = ROOT / f"benchmarks/{name}.json"
        found[name] = json.loads(path.read_text()) if path.exists() else None
    assert PAGE.read_text() == page(*(found[name] for name in FILES))
    for path in QUOTING:
        assert path.read_text() == quoted(path.read_text(), found["results"]), path.name


def test_the_page_of_scale_is_what_was_reckoned_and_measured() -> None:
    from make_scale import PAGE, page

    costs, gpu = (
        json.loads((ROOT / f"benchmarks/{name}.json").read_text()) for name in ("costs", "gpu")
    )
    assert PAGE.read_text() == page(costs, gpu)
    for name, one in costs["programs"].items():
        for part in ("seconds", "memory", "store"):
            assert 0.5 < one["reckoned"][part] / one["run"][part] < 2, (name, part)


def test_the_page_of_workers_ends_with_what_was_measured() -> None:
    from workers import PAGE, page

    found = json.loads((ROOT / "benchmarks/workers.json").read_text())
    assert PAGE.read_text() == page(PAGE.read_text(), found)


def test_a_point_of_growth(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    import growth_point
    from growth import _POINTS

    asked = _POINTS["length"](30, folder, 4, tmp_path)
    monkeypatch.setattr("sys.argv", ["growth_point.py", json.dumps(asked), str(tmp_path)])
    growth_point.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["pairs"], found["tokens"]) == (8, 30)
    assert found["seconds"] >= found["clean_s"] > 0


def test_the_script_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu
    from make_performance import on_gpu

    out = tmp_path / "gpu.json"
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path))
    asked = ["--device", "cpu", "--models", "tiny", "--repetitions", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["gpu.py", *asked])
    gpu.main()
    found = json.loads(out.read_text())
    assert found["left_out"] == []
    records = found["models"]["tiny"]
    assert [record["name"] for record in records] == list(gpu.WORKS)
    assert all(0 < side["difference"] < 1e-3 for r in records for side in r["sides"][1:])
    assert all(0 < record["limit"]["share"] < 1 for record in records if "limit" in record)
    text = "\n".join(on_gpu(found))
    assert "tiny end_sweep" in text
    assert "|  | TransformerLens |" in text


def test_sides_on_a_gpu_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a simulated one: what one side has on the CPU and another elsewhere is no difference."""
    import gpu
    from comparisons import COMPARISONS
    from turns import take_turns

    readable = "transformer_lens.utilities.quantization.unreadable_weight_reason"
    monkeypatch.setattr(readable, lambda weight: None)
    with elsewhere():
        bench = gpu.random_bench("tiny", DEVICE, tmp_path)
        for name in ("das_step_64", "end_sweep", "path_scan", "audit"):
            found = take_turns(COMPARISONS[name](bench), 1, lambda text: None)
            assert all(side["difference"] < 1e-3 for side in found["sides"][1:]), name
