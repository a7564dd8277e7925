"""The main program on SmolLM2 in float32: both backends give the same logits on every arm."""

import json
import re
from pathlib import Path

import pandas
import pytest
import torch
from torch import Tensor

from causaldsl.check.program import Checker, check_file
from causaldsl.cli import main
from causaldsl.diagnostics import Source
from causaldsl.engine.interpret import evaluate, interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.catalog import catalog
from causaldsl.plan.needs import Needs

PROGRAMS = Path(__file__).parents[2] / "programs"
needs_model = pytest.mark.skipif(
    not next(entry.present for entry in catalog() if entry.name == "smollm2-135m"),
    reason="smollm2-135m is not on this machine: causaldsl models pull smollm2-135m",
)


def main_program(train: int, test: int, epochs: int) -> str:
    """The shipped program with fewer pairs."""
    prompts = (PROGRAMS / "ioi.cpatch").read_text()
    prompts = re.sub(r"n_train = \d+", f"n_train = {train}", prompts)
    prompts = re.sub(r"n_test = \d+", f"n_test = {test}", prompts)
    text = (PROGRAMS / "mlp_in_the_middle.cpatch").read_text()
    text = re.sub(r"epochs: \d+", f"epochs: {epochs}", text)
    return text.replace('import "ioi.cpatch"', prompts)


def run(text: str) -> Session:
    path = PROGRAMS / "main_test.cpatch"
    program = Checker(Source("main_test.cpatch", text), path).check()
    session = open_session(program, compile_program(program), Settings(), lambda *_: None)
    interpret(session)
    return session


def differences(session: Session) -> dict[str, tuple[float, float]]:
    """For each arm: the largest difference between backends, and from the clean run."""
    graph = session.graph
    pairs = graph.pairs[graph.key_of("flip.test")]
    places = {
        change.at: None
        for key in graph.made["effects"].parts.values()
        for change in changes_of(session, key)
    }
    both = {
        name: PromptRuns(session.backends[name], pairs, "base", Needs({}, places))
        for name in ("cone", "hooks")
    }
    found = {}
    for arm, key in graph.made["effects"].parts.items():
        changes = changes_of(session, key)
        if not changes:
            continue
        with torch.no_grad():
            ours, theirs = (in_order(runs, changes) for runs in both.values())
            clean = in_order(both["hooks"], [])
        apart, moved = float((ours - theirs).abs().max()), float((ours - clean).abs().max())
        found[arm] = (apart, moved)
    return found


def changes_of(session: Session, key: str) -> list[PreparedEdit]:
    """What a run changes, made again: a session lets go of what no later operation needs."""
    changes = session.graph.operation(key).inputs_as("do")
    return [evaluate(session, [change])[0] for change in changes]


def in_order(runs: PromptRuns, changes: list[PreparedEdit]) -> Tensor:
    """Logits by pair, whichever prompts a backend runs together."""
    parts = [
        runs.logits(group, [change.edit(group) for change in changes], None)
        for group in runs.groups
    ]
    return torch.cat(parts)[torch.argsort(torch.cat([group.rows for group in runs.groups]))]


def check_arms(session: Session) -> None:
    found = differences(session)
    assert {arm: apart for arm, (apart, _) in found.items() if not apart < 1e-3} == {}
    for arm in ("whole_resid", "v_resid", "v_mean", "whole_mlp", "v_mlp", "row_only"):
        assert found[arm][1] > 0.1, arm
    # W_out sends the null part to 0, so that arm must change nothing but the last bits.
    assert found["null_only"][1] < 1e-3


@needs_model
def test_both_backends_agree_on_every_arm() -> None:
    check_arms(run(main_program(train=24, test=12, epochs=1)))


@needs_model
@pytest.mark.soak
def test_both_backends_agree_on_every_arm_of_the_whole_program() -> None:
    session = run(main_program(train=300, test=150, epochs=3))
    check_arms(session)
    assert all(session.values[key].held for key in session.graph.keys("claim"))


@needs_model
@pytest.mark.soak
@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.cpatch")), ids=lambda p: p.name)
def test_every_claim_of_every_program_holds(path: Path, tmp_path: Path) -> None:
    from causaldsl.cli import main

    program = check_file(path)
    if not (program.measurements or program.tables or program.histograms or program.audits):
        pytest.skip("it measures nothing: it defines what other programs import")
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run/results.json").read_text())
    assert [c["text"] for c in found["expectations"] if c["verdict"] != "held"] == []
    assert list((tmp_path / "run").glob("*.svg"))


@needs_model
def test_the_model_does_the_task_in_every_template(tmp_path: Path) -> None:
    """Claims over templates are about frames in which the task is done."""
    text = (PROGRAMS / "ioi.cpatch").read_text()
    text = re.sub(r"n_wide = \d+", "n_wide = 45", text).replace(
        "lexicons/", f"{PROGRAMS}/lexicons/"
    )
    program = tmp_path / "wide.cpatch"
    program.write_text(
        text + "measure m on wide.test { a = patch resid_post[20] @ END  report logit_diff }\n"
    )
    allow = ["--allow-path", str(PROGRAMS)]
    assert main(["run", str(program), "--out", str(tmp_path / "run"), *allow]) == 0
    frame = pandas.read_parquet(tmp_path / "run/values.parquet")
    clean = frame[(frame.arm == "clean") & (frame.metric == "logit_diff")]
    right = (clean.value > 0).groupby(clean.template).mean()
    assert len(right) == 9
    assert right.min() >= 0.8
