"""What the cone serves is what its forward pass offers; everything else is run with hooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.diagnostics import RunFailure, Source
from causaldsl.engine.cone.recorder import Recorder
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.sites import Site, all_sites
from causaldsl.plan.entries import expected_backend
from causaldsl.vocabulary.sites import SITES, SiteWord
from tests.engine.conftest import Parties
from tests.engine.same import differences
from tests.frontend.world import PRELUDE, make_world

PROGRAM = PRELUDE + "measure m on flip.test { a = patch mlp_out[1] @ END  report fldd, kl }\n"


NEW = SiteWord(
    "norm_out",
    "layer",
    "d_model",
    "One that the cone has never heard of.",
    "mlp",
    depth=5,
    hook="blocks.{layer}.ln2.hook_normalized",
)
NOWHERE = replace(NEW, word="nowhere", hook="nowhere")
"""A kind of site that nothing serves."""


@pytest.fixture(autouse=True)
def new_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (NEW, NOWHERE):
        monkeypatch.setitem(SITES, word.word, word)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("serves"))


def opened(world: Path, backend: str = "cone") -> tuple[CheckedProgram, Session]:
    program = Checker(Source("case.cpatch", PROGRAM), world / "case.cpatch").check()
    settings = Settings(backend=backend, dtype="float64", resamples=50)
    return program, open_session(program, compile_program(program), settings, lambda *_: None)


def test_every_named_site_is_served(trio: Parties) -> None:
    for name, backend in trio.backends.items():
        assert [str(s) for s in all_sites(trio.shapes) if not backend.serves(s)] == [], name


def test_what_the_pass_does_not_offer_is_not_served(llama: Parties) -> None:
    layers = llama.shapes.n_layers
    for site in (
        Site("resid_post", layers),
        Site("hook", hook="blocks.0.hook_resid_pre"),
        Site("norm_out", 1),
    ):
        assert not llama.backends["cone"].serves(site)


def test_the_plan_expects_what_is_served(llama: Parties) -> None:
    """Where a kind of site says its tap, the pass offers it."""
    expected = expected_backend(llama.shapes)
    for site in [*all_sites(llama.shapes), Site("norm_out", 1)]:
        assert (expected([site]) == "cone") == llama.backends["cone"].serves(site), site


def test_a_kind_that_the_cone_does_not_know_falls_back_with_a_note(world: Path) -> None:
    _, session = opened(world)
    assert session.backend_for([Site("mlp_out", 1)]) == "cone"
    assert session.notes == []
    assert session.backend_for([Site("mlp_out", 1), Site("norm_out", 1)]) == "hooks"
    assert session.notes == [
        "norm_out[1] is run with the hooks backend: the cone can't serve it",
    ]
    with pytest.raises(RunFailure, match=r"nowhere\[1\] has no hook"):
        session.backend_for([Site("nowhere", 1)])


def test_a_program_with_such_a_site_runs(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass that has no place for mlp_out."""
    program, wanted = opened(world, "hooks")
    interpret(wanted)
    offer = Recorder.at

    def at(self: Recorder, word: str, *rest: object) -> object:
        found = offer(self, word, *rest)  # type: ignore[arg-type]
        self.places -= {("mlp_out", 1)}
        return found

    monkeypatch.setattr(Recorder, "at", at)
    _, session = opened(world)
    interpret(session)
    assert "hooks" in session.plan.backends.values()
    assert any(note.startswith("mlp_out[1] is run with the hooks") for note in session.notes)
    assert differences(program, session, wanted, 1e-9) == []
