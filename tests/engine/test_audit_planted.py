"""The audit on planted directions, whose truth is measured by hooks (`planting/truth.py`).

Two models of four kinds here; `make soak` takes all kinds, and `benchmarks/planted_audits.py` the
held-out ones, whose counts are in docs/audit.md and in every report.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.engine.audit.rule import Bounds
from causaldsl.report.calibration import calibration
from causaldsl.results.numbers import Number
from tests.engine.planting.audited import CLEAR, Case, audited, counted
from tests.engine.planting.build import DORMANT, FEATURE, LOST
from tests.engine.planting.cases import ALL, built
from tests.engine.planting.truth import Bench
from tests.engine.sentences import read

QUICK = (("unread", 1), ("opposed", 3), ("residual", 3), ("head z", 2))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return [
        case for kind, seed in QUICK for case in audited(kind, seed, tmp_path_factory.mktemp("lm"))
    ]


def test_no_verdict_is_wrong(cases: list[Case]) -> None:
    assert [(case.kind, case.name) for case in cases if case.wrong] == []


def test_both_verdicts_are_given(cases: list[Case]) -> None:
    """So that always saying the same, or nothing, would not pass."""
    for truth in CLEAR:
        true = [case for case in cases if case.truth == truth]
        assert len(true) >= 8
        assert sum(case.verdict == truth for case in true) >= len(true) / 3


def test_a_feature_alone_is_never_called_an_illusion(cases: list[Case]) -> None:
    exact = [case for case in cases if case.exact]
    assert len(exact) >= 4
    assert all(case.verdict != "illusory" for case in exact)


def test_nothing_is_called_nothing(cases: list[Case]) -> None:
    nothing = [case for case in cases if case.truth == "nothing"]
    assert len(nothing) >= 4
    assert {case.verdict for case in nothing} == {"inconclusive"}


def test_no_text_states_what_the_evidence_beside_it_denies(cases: list[Case]) -> None:
    """The verdict's sentences, and why a piece of evidence is not to be had."""
    seen = set()
    for case in cases:
        rows = {row.name: row for row in case.record.evidence}
        shown = {name: row.value for name, row in rows.items() if row.value is not None}
        shown |= rows["principal components"].details
        whole = rows["whole component"]
        shown[whole.name] = whole.details.get("share of v's effect")
        seen.update(read(case.record.rule, case.verdict, shown))
        lacking = [row.meaning for row in rows.values() if "not clearly above" in row.meaning]
        assert bool(lacking) == (shown["subspace effect"].low <= Bounds().nothing)
    assert seen == {"feature", "illusion", "none"}


def test_shares_are_those_of_raw_hooks(cases: list[Case]) -> None:
    bench = Bench(built("unread", 1))
    record = next(c.record for c in cases if (c.kind, c.name) == ("unread", "feature"))
    said = {row.name: row.value.mean for row in record.evidence if isinstance(row.value, Number)}
    v = bench.built.frame[:, FEATURE]
    patch = torch.outer(bench.moves @ v, v)

    def share(moved: Tensor) -> float:
        return bench.effect(moved) / bench.effect(patch)

    def cut(moved: Tensor, own: Tensor) -> Tensor:
        return torch.where(moved * own > 0, moved.sign() * moved.abs().minimum(own.abs()), 0)

    rows = torch.cat([bench.x, bench.x + bench.moves])
    values, axes = torch.linalg.eigh(torch.cov(rows.T))
    held = values.flip(0).cumsum(0) / values.sum()
    first, second = (axes.flip(1)[:, : int((held < of).sum()) + 1] for of in (0.99, 0.999))
    assert first.shape[1] <= second.shape[1] < rows.shape[1]
    assert said["subspace effect"] == pytest.approx(bench.effect(patch), abs=1e-6)
    assert said["clip"] == pytest.approx(share(cut(patch, bench.moves)), abs=1e-6)
    assert said["principal components"] == pytest.approx(share(patch @ first @ first.T), abs=1e-6)
    within = cut(patch @ second, bench.moves @ second) @ second.T
    assert said["clip in components"] == pytest.approx(share(within), abs=1e-6)


def test_what_each_site_has(cases: list[Case]) -> None:
    """A head's z is split by W_O as neurons are by W_out; the stream has principal components."""
    for case in cases:
        rows = {row.name: row for row in case.record.evidence}
        if rows["subspace effect"].value.low <= Bounds().nothing:
            continue
        assert rows["principal components"].value is not None
        assert (rows["row part alone"].value is None) == (case.kind == "residual")
        assert ("clip" in rows) == (case.kind in ("unread", "opposed"))
        if case.kind == "head z":
            assert "W_O" in rows["null norm"].meaning


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "trained"])
def test_what_was_planted_is_there(kind: str) -> None:
    """e1 and e2 move, e3 hardly does; e1 and e3 are read, e2 is not or less, as it was built."""
    made = built(kind, 2)
    found = Bench(made).certificate()
    moves, reads = ([one[what] for one in found] for what in ("moves", "reads"))
    assert moves[DORMANT] < 0.5 * moves[FEATURE]
    assert moves[LOST] > 0.4 * moves[FEATURE]
    assert reads[DORMANT] > 0.3
    assert abs(reads[LOST]) < 0.5 * reads[DORMANT]
    planted = made.spec.reads[FEATURE]
    assert (reads[FEATURE] > 0.3) == any(planted.get(line) for line in ("u", "v", "x"))


def test_the_frame_decides_the_truth() -> None:
    """A mix is illusory in the planted frame, and all of it is natural in one that it spans."""
    bench = Bench(built("unread", 1))
    mixed = (bench.built.frame[:, LOST] + bench.built.frame[:, DORMANT])[:, None]
    true = bench.measure(mixed)
    assert true.truth == "illusory"
    assert true.rho == pytest.approx(0, abs=0.2)
    assert bench.measure(bench.built.frame[:, [FEATURE]]).rho == pytest.approx(1, abs=0.05)
    whole = bench.measure(bench.frames[0])
    assert whole.rho == pytest.approx(1)
    assert whole.effect == pytest.approx(bench.effect(bench.moves))


def test_counts_of_the_held_out_models_are_kept() -> None:
    kept = calibration()
    assert [one.kind for one in kept.kinds] == list(ALL)
    assert sum(one.cases for one in kept.kinds) >= 400
    root = Path(__file__).parents[2]
    text = (root / "docs/audit.md").read_text("utf-8")
    rows = runpy.run_path(str(root / "benchmarks/planted_audits.py"))["rows"]
    assert all(line in text for line in rows(kept))
    by = {one.kind: one for one in kept.kinds}
    never, few = (by["residual"], by["head z"]), (by["attention"], by["mlp out"])
    words = " ".join(text.split())
    assert all(one.illusory_right + one.illusory_wrong == 0 for one in never)
    assert (
        "of {} and {} in the planted models below none".format(*(o.illusory for o in never))
        in words
    )
    features, found = (
        sum(getattr(o, what) for o in never) for what in ("faithful", "faithful_right")
    )
    assert f"{features - found} of {features} features got it too" in words
    told = [f"{one.illusory_right} of {one.illusory}" for one in few]
    assert "in attn_out {} were called illusory, in mlp_out {}.".format(*told) in words


@pytest.mark.soak
@pytest.mark.parametrize("kind", ALL)
def test_every_kind(kind: str, tmp_path: Path) -> None:
    """On models of the half that the rule was made with."""
    cases = [case for seed in (10, 11) for case in audited(kind, seed, tmp_path / str(seed))]
    assert counted(kind, cases).wrong == 0
