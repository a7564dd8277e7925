"""The plan says exactly which passes run, and the engine makes these and no others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from causaldsl import api
from causaldsl.api.running import decided_by_run
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import check_file
from causaldsl.engine.backend import Activations, CleanPass, Pass
from causaldsl.engine.cone.writer import ConeWriter
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.request import Request
from causaldsl.plan.work import work_of
from tests.engine.statements import STATEMENTS
from tests.engine.test_every_program import NAMES, checked, deep, small  # noqa: F401
from tests.frontend.test_plan_text import EVERY_KIND
from tests.frontend.world import PRELUDE, make_world

Passes = Counter[tuple[str, bool]]
"""Prompts that went through the model, by what was found out, and whether gradients were taken."""


class Watched:
    """A backend that counts what goes through it."""

    def __init__(self, backend: Any, passes: Passes, cleans: Counter[str]):
        self._backend, self._passes, self._cleans = backend, passes, cleans

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def clean(self, wanted: CleanPass) -> Any:
        if self.name == "cone" or wanted.reads or wanted.logits is not None:
            self._cleans[self.name] += len(wanted.tokens)
        return self._backend.clean(wanted)

    def run(self, wanted: Pass[Any]) -> Any:
        if any(wanted.arms):  # without edits the answer is kept with the clean run
            rows = wanted.clean.tokens if wanted.rows is None else wanted.rows
            prompts = rows.shape[-1] if wanted.rows is not None else len(rows)
            what = "activations" if isinstance(wanted.ask, Activations) else "logits"
            trains = any(
                x is not None and x.requires_grad
                for edits in wanted.arms
                for edit in edits
                for x in (edit.value, edit.basis)
            )
            self._passes[what, trains] += len(wanted.arms) * prompts
        return self._backend.run(wanted)


def planned(session: Session, requests: list[Request]) -> Passes:
    found: Passes = Counter()
    for request in requests:
        rows = len(session.graph.prompts_of(request.clean)) * request.times
        assert rows == pytest.approx(round(rows))
        found["activations" if request.reads else "logits", request.backward] += round(rows)
    return found


def compare(program: CheckedProgram, backend: str) -> None:
    settings = Settings(backend=backend, dtype="float64", resamples=20)
    session = open_session(program, compile_program(program), settings, lambda *_: None)
    passes: Passes = Counter()
    cleans: Counter[str] = Counter()
    for name in set(session.plan.backends.values()):
        session.backends[name] = Watched(session.backends[name], passes, cleans)
    shared: set[object] = set()
    wrong: list[str] = []

    def keep(keys: Any, values: Any) -> None:
        requests = [r for key in keys for r in session.plan.asked[key].requests]
        new = []
        for request in requests:
            if request.shared is None or (request.clean, request.shared) not in shared:
                new.append(request)
                shared.add((request.clean, request.shared))
        exact = planned(session, [r for r in new if not r.most])
        more = planned(session, [r for r in new if r.most])
        label = session.graph.operation(keys[0]).label
        for kind in passes.keys() | exact.keys():
            low, high = exact[kind], exact[kind] + more[kind]
            if not low <= passes[kind] <= high:
                wrong.append(f"{label}: {kind} {passes[kind]}, planned {low} to {high}")
        passes.clear()
        Session.keep(session, keys, values)

    session.keep = keep  # type: ignore[method-assign]
    interpret(session)
    assert wrong == []
    wanted: Counter[str] = Counter()
    for key, name in session.plan.needs:
        wanted[name] += len(session.graph.prompts_of(key))
    assert cleans == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_program_makes_the_passes_of_its_plan(name: str, deep: Path) -> None:  # noqa: F811
    compare(checked(deep / name, deep / "deep"), "cone")


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_every_kind_of_word_makes_the_passes_of_its_plan(backend: str, tmp_path: Path) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text(EVERY_KIND)
    compare(check_file(path), backend)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_sets_and_named_runs_make_the_passes_of_their_plan(backend: str, tmp_path: Path) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text((Path(__file__).parents[1] / "frontend/corpus/sets.cpatch").read_text())
    compare(check_file(path), backend)


@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_newer_statements_make_the_passes_of_their_plan(
    name: str, backend: str, tmp_path: Path
) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text(STATEMENTS[name])
    chosen = Settings(dtype="float64", resamples=20)
    decided = decided_by_run(api.compile(path), chosen, lambda *_: None, None, set())
    compare(decided.program, backend)


def test_each_new_token_is_a_pass_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text(
        PRELUDE
        + 'prompts said = corpus("texts.txt")\n'
        + "generate g on said { plain = base  tokens 7  report text }\n"
    )
    program = check_file(path)
    session = open_session(program, compile_program(program), Settings(), lambda *_: None)
    (work,) = work_of(session.graph, session.plan, session.loaded.spec.shapes)
    rows: list[int] = []
    before = ConeWriter._pass

    def counted(writer: ConeWriter, window: Any, tokens: Any, edits: Any) -> Any:
        rows.append(tokens.shape[0] * tokens.shape[1])
        return before(writer, window, tokens, edits)

    monkeypatch.setattr(ConeWriter, "_pass", counted)
    interpret(session)
    (one,) = work.passes
    assert rows == [work.rows] * round(one.times) == [24] * 7


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_a_training_that_stops_by_itself_makes_no_more_passes(backend: str, tmp_path: Path) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    pairs = "pairs more = ioi ABB <-> BAB { train 24  seed 4 }\n"
    path.write_text(f"{PRELUDE}{pairs}subspace v = das(resid_post[1] @ END, on: more.train)\n")
    compare(check_file(path), backend)


def test_texts_are_written_in_the_passes_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text(
        PRELUDE
        + "prompts own = sample(lm, n: 70, length: 9)\n"
        + "subspace p = pca(resid_post[0] @ END, on: own)\n"
    )
    program = check_file(path)
    session = open_session(program, compile_program(program), Settings(), lambda *_: None)
    shapes = session.loaded.spec.shapes
    written, clean = work_of(session.graph, session.plan, shapes)
    seen: list[int] = []
    go = ConeWriter._pass

    def counted(self: ConeWriter, window: Any, tokens: Tensor, edits: Any) -> Tensor:
        seen.append(tokens.numel())
        return go(self, window, tokens, edits)

    monkeypatch.setattr(ConeWriter, "_pass", counted)
    interpret(session)
    (one,) = written.passes
    assert sum(seen) == written.rows * one.window * one.times == 70 * 8
    assert clean.rows == 70


def test_a_gradient_makes_no_run_of_the_sources(tmp_path: Path) -> None:
    path = make_world(tmp_path) / "p.cpatch"
    path.write_text(PRELUDE + "subspace g = gradient(resid_post[1] @ END, on: flip.train)\n")
    program = check_file(path)
    session = open_session(program, compile_program(program), Settings(), lambda *_: None)
    sides = {session.graph.operation(key).side for key, _ in session.plan.needs}
    assert sides == {"base"}
    compare(program, "cone")
