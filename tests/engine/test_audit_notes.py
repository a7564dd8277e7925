"""What an audit does for itself is not noted under names that nobody wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.engine.das import DasFit
from causaldsl.engine.words.runs import Effect, check_made
from causaldsl.plan.names import names_of, noted_of
from tests.engine.test_claims import line, run, write
from tests.engine.test_claims import world as world  # the fixture

PROGRAM = """pairs p = jsonl("audited.jsonl", train: 0.5)
site mid = mlp_hidden[0] @ END
subspace m = mean_difference(mid, one, two, on: p.train)
audit c = illusion(m, on: p, directions: 0, mlps: 2, sizes: [2, 4])
"""


def audited(world: Path) -> str:
    classes = [{"base": "one", "source": "two"}, {"base": "two", "source": "one"}]
    lines = [line(i) | {"class": classes[i % 2]} for i in range(24)]
    write(world / "audited.jsonl", lines)
    return PROGRAM


@pytest.fixture
def notes(world: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those of a run whose own trainings all end too soon."""
    monkeypatch.setattr(DasFit, "still_falling", property(lambda fit: (3.0, 2.0)))
    return run(world, audited(world)).results.notes


def test_idle_runs_of_an_audit(world: Path) -> None:
    """A part of the patch that is nothing is no fault; all of it is, and has the audit's name."""
    (world / "idle.cpatch").write_text(f'model lm = "./lm"\n{audited(world)}')
    graph = api.compile(world / "idle.cpatch").graph
    names, parts = names_of(graph), graph.made["c"].parts
    assert names[parts["dormant"]] == "c.dormant"
    effects = {
        key: [Effect("mid", 1, 0.0, shows=False)] for arm, key in parts.items() if arm != "clean"
    }
    notes: list[str] = []
    check_made(effects, noted_of(graph, names), notes.append)
    assert notes == ["c: the intervention at mid left every activation as it was"]


def test_its_trainings_are_told_of_once_under_its_name(notes: list[str]) -> None:
    falling = [note for note in notes if "still falling" in note]
    said = "a subspace that c trains: the loss was still falling when training ended"
    assert falling == [said]
    assert not [note for note in notes if note.startswith("das")]


def test_losses_that_print_alike_are_not_noted(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DasFit, "still_falling", property(lambda fit: (2.91502, 2.91498)))
    text = 'pairs p = jsonl("audited.jsonl", train: 0.5)\n'
    text += "subspace v = das(resid_post[0] @ END, on: p.train, epochs: 2)\nlet n = norm(v)\n"
    audited(world)
    found = run(world, text).results
    assert not [note for note in found.notes if "still falling" in note]
