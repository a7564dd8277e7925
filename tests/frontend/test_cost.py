"""What a run costs, reckoned before it: numbers that follow from the plan and a made-up machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.cli import main
from causaldsl.plan import machine
from causaldsl.plan.cost import Cost, cost_of, time_text
from causaldsl.plan.entries import expected_backend
from causaldsl.plan.keeping import kept_runs, most_kept
from causaldsl.plan.machine import ASSUMED, Machine, remember, this_machine
from causaldsl.plan.planner import make_plan
from causaldsl.plan.seconds import SHARE
from causaldsl.plan.work import work_of
from tests.frontend.test_graph import check
from tests.frontend.world import PRELUDE
from tests.tiny import HIDDEN

PROGRAM = """
subspace v = das(mlp_hidden[2] @ END, on: flip.train, epochs: 2)
measure m on flip.test { a = patch resid_post[1] @ END  b = patch mlp_hidden[2] @ END along v
  report fldd, interchange_accuracy }
"""


def made_up(rate: float = 1e9, block: float = 0.0) -> Machine:
    return Machine(
        name="some",
        threads=1,
        rates={1: rate, 1000: rate},
        block=block,
        start=2.0,
        read=4e6,
        base=7,
    )


def costs(text: str, world: Path, on: Machine) -> tuple[Cost, int, int]:
    """The cost of a program, its FLOPs, and the most that clean runs keep."""
    compiled = api.compile(check(PRELUDE + text, world))
    assert compiled.program.model is not None
    shapes = compiled.program.model.shapes
    plan = make_plan(compiled.graph, expected_backend(shapes), shapes)
    cost = cost_of(compiled.graph, plan, shapes, on, 1_000_000, "float32", 2**30)
    flops = sum(work.flops for work in work_of(compiled.graph, plan, shapes))
    return cost, flops, most_kept(kept_runs(compiled.graph, plan, shapes, "float32"))[0]


def test_time_is_the_arithmetic_by_the_rate_and_what_comes_on_top(world: Path) -> None:
    cost, flops, kept = costs(PROGRAM, world, made_up())
    work = ("clean runs", "training", "changed runs")
    assert set(cost.seconds) == {"start", *work, "numbers and pictures"}
    assert cost.seconds["start"] == 2.0 + 4e6 / 4e6
    assert sum(cost.seconds[kind] for kind in work) == pytest.approx(flops / (SHARE * 1e9))
    assert cost.time == sum(cost.seconds.values())
    assert (cost.memory["weights"], cost.memory["process"]) == (4_000_000, 7)
    assert cost.memory["clean runs"] == kept > 0
    half, _, _ = costs(PROGRAM, world, made_up(0.5e9))
    assert half.seconds["training"] == pytest.approx(2 * cost.seconds["training"])


def test_calls_of_blocks_come_on_top(world: Path) -> None:
    without, with_calls = (costs(PROGRAM, world, made_up(block=b))[0] for b in (0.0, 1.0))
    more = {kind: with_calls.seconds[kind] - value for kind, value in without.seconds.items()}
    # All four blocks of each side for the test pairs; of the bases to train on; three of sources.
    assert more["clean runs"] == pytest.approx(4 + 4 + 3 + 3)
    assert more["training"] > more["changed runs"] > 0


def test_more_pairs_cost_more(world: Path) -> None:
    fewer, many = (
        costs(PROGRAM.replace("epochs: 2", f"epochs: {epochs}"), world, made_up())[0]
        for epochs in (2, 8)
    )
    assert many.seconds["training"] == pytest.approx(4 * fewer.seconds["training"])
    assert many.passes > fewer.passes


def test_a_store_gains_the_vectors_that_are_made(world: Path) -> None:
    best = "subspace w = best_neurons(mlp_hidden[2] @ END, on: flip.train, k: {})"
    fewer, more = (costs(PROGRAM + best.format(k), world, made_up())[0] for k in (1, 3))
    assert more.stored - fewer.stored == 2 * HIDDEN * 8


def test_rates_lie_on_the_power_law_between_those_measured() -> None:
    one = ASSUMED.model_copy(update={"rates": {1: 1.0, 100: 10.0}})
    assert one.rate(10) == pytest.approx(10**0.5)
    assert (one.rate(0.1), one.rate(1000)) == (1.0, 10.0)


def test_a_machine_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cache_folder", lambda: tmp_path)
    assert this_machine() == ASSUMED
    path = remember(made_up())
    assert this_machine() == made_up()
    path.write_text("{}")
    assert this_machine() == ASSUMED


def test_fits_of_probes_to_the_same_inputs_share_their_decomposition(world: Path) -> None:
    rest = "target: random(resid_post[2] @ END), at: resid_post[2] @ END, on: flip.test"
    one, two, other = (
        "".join(
            f"let {name} = {word}(mlp_hidden[{layer}] @ END, {rest})\n" for name, word, layer in of
        )
        for of in (
            [("r", "ridge_r2", 2)],
            [("r", "ridge_r2", 2), ("q", "ridge_mse", 2)],
            [("r", "ridge_r2", 2), ("q", "ridge_mse", 1)],
        )
    )
    probes = [costs(text, world, made_up())[0].seconds["probes"] for text in (one, two, other)]
    rows = round(0.75 * 6)  # of six pairs to test, a row each
    fit, shared = (n / (SHARE * 1e9) for n in (4 * 8 * rows**2, 10 * rows**3))
    assert probes == pytest.approx([fit + shared, 2 * fit + shared, 2 * fit + 2 * shared])
    told = "let t = logistic_accuracy(mlp_hidden[3] @ END, direction: random(resid_post[2] @ END), "
    told += "at: resid_post[2] @ END, on: flip.test, scale: 1, unit: mean_norm)\n"
    cost = costs(told, world, made_up())[0]
    assert cost.seconds["probes"] == pytest.approx(2000 * rows * HIDDEN / (SHARE * 1e9))


def test_the_command_says_it(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cache_folder", lambda: world / "none")
    path = world / "p.cpatch"
    path.write_text(PRELUDE + PROGRAM)
    assert main(["check", str(path), "--cost"]) == 0
    said = capsys.readouterr().out
    assert "two cores of a server, 2 threads (assumed)" in said
    assert "operations" in said
    assert "clean runs" in said
    assert said.endswith("`causaldsl calibrate` measures this machine, in about a minute\n")


def test_times_for_people() -> None:
    assert [time_text(s) for s in (0.25, 42, 150, 7200)] == ["0.25 s", "42 s", "2 min", "2.0 h"]
