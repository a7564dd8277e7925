"""The rows of an audit's table, in their order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.audit.evidence import Audited, Row, points
from causaldsl.engine.audit.rule import CAVEAT, HALF, MOST, THIRD, Facts, decide
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.metrics import auc
from causaldsl.engine.subspace import SubspaceValue

_CHANCE = 0.75
"""An AUC below this does not separate the classes."""
_BEYOND = 2.0
"""An output that moves more than this many times as far as on the data is off the data."""
_BASELINE = 1000
_NO_SHARE = "The subspace has no effect that it could be a share of."


def record(audited: Audited) -> dict[str, Any]:
    """Verdict, rule and evidence as plain data."""
    matrix = audited.matrix is not None
    facts = Facts(
        effect=audited.effect("v"),
        whole=audited.share("whole"),
        active=audited.share("active"),
        row=audited.share("row") if matrix else None,
        neurons=audited.neurons() if matrix else None,
        hidden=audited.hidden if matrix else 0.0,
        rank=audited.rows.shape[1] if audited.rows is not None else 0,
        sampled=audited.text,
    )
    decision = decide(facts)
    rows = [_effect(facts), _whole(audited, facts)]
    if matrix:
        rows += [_norms(audited), _row(audited, facts), _null(audited), _plane(audited)]
    else:
        meaning = "Many matrices read this site, so no single one divides it into row and null."
        rows.append(Row("row part alone", None, meaning))
    rows += [_separation(audited), _active(audited, facts)]
    if matrix:
        rows += [_neurons(facts), _cosine(audited), _output(audited)]
    rows += [_random(audited, facts), _mlps(audited, facts), _sizes(audited)]
    return {
        "verdict": decision.verdict,
        "rule": decision.rule,
        "decided_by": list(decision.decided_by),
        "evidence": [row.plain() for row in rows],
        "caveat": CAVEAT,
    }


def _effect(facts: Facts) -> Row:
    meaning = "Share of the output's difference between base and source that the patch makes up."
    return Row("subspace effect", facts.effect, meaning)


def _whole(audited: Audited, facts: Facts) -> Row:
    meaning = "The whole site patched. A subspace that does much more is not how the site works."
    effect = audited.effect("whole")
    details = () if facts.whole is None else (("share of v's effect", facts.whole),)
    return Row("whole component", effect, meaning, points(facts.whole, HALF), details)


def _norms(audited: Audited) -> Row:
    hidden = audited.hidden
    meaning = "Norm of v's part that W_out sends to 0, v at length 1; the rest is its row part."
    assert audited.rows is not None
    chance = (1 - audited.rows.shape[1] / len(audited.rows)) ** 0.5
    details = (("row norm", max(0.0, 1 - hidden) ** 0.5), ("null norm by chance", chance))
    return Row("null norm", hidden**0.5, meaning, "neither", details)


def _row(audited: Audited, facts: Facts) -> Row:
    if facts.row is None:
        return Row("row part alone", None, _NO_SHARE)
    meaning = "Share of v's effect when only what W_out sees of v is patched."
    details = (("effect", audited.effect("row")),)
    pointing = points(facts.row, HALF)
    if pointing == "faithful" and facts.row.low <= MOST:
        pointing = "neither"
    return Row("row part alone", facts.row, meaning, pointing, details)


def _null(audited: Audited) -> Row:
    meaning = "Effect of patching only what W_out does not see: none, unless numbers are rounded."
    return Row("null part alone", audited.effect("null"), meaning)


def _plane(audited: Audited) -> Row:
    share = audited.share("plane")
    if share is None:
        return Row("row and null as a plane", None, _NO_SHARE)
    meaning = "Share of v's effect when both parts are patched, each by its own difference."
    return Row("row and null as a plane", share, meaning, points(share, HALF))


def _separation(audited: Audited) -> Row:
    name = "separation of classes"
    if audited.labels is None and audited.text:
        classes = "sources and bases, turned to point the same way"
    else:
        classes = "the two classes of prompts"
    found = {
        part: _auc_and_d(audited, audited.parts[role])
        for part, role in (("v", "of"), ("row", "row"), ("null", "null"))
        if role in audited.parts and audited.parts[role].rank
    }
    details = [
        (f"{what} along {part}", value)
        for part, values in found.items()
        for what, value in zip(("AUC", "d"), values, strict=True)
    ]
    auc = {part: values[0] for part, values in found.items()}
    pointing = "neither"
    if "row" in auc and "null" in auc and auc["v"] >= _CHANCE:
        only_null = auc["row"] < _CHANCE <= auc["null"]
        pointing = "illusory" if only_null else "faithful" if auc["row"] >= _CHANCE else "neither"
    meaning = f"Area under the ROC curve of projections, {classes}; 0.5 is chance."
    return Row(name, auc["v"], meaning, pointing, tuple(details))


def _active(audited: Audited, facts: Facts) -> Row:
    if facts.active is None:
        return Row("active part", None, _NO_SHARE)
    dormant = audited.share("dormant")
    assert dormant is not None
    cosine = float((audited.of.basis.T @ audited.natural).norm())
    details = (("dormant part's share", dormant), ("|cos| with natural change", cosine))
    meaning = (
        "Share of v's effect by the part of the same move along which the classes differ on the "
        "average; the rest of it is dormant."
    )
    return Row("active part", facts.active, meaning, points(facts.active, THIRD), details)


def _neurons(facts: Facts) -> Row:
    if facts.neurons is None:
        return Row("natural neurons", None, _NO_SHARE)
    share = facts.neurons
    meaning = "Share of the patch's movement of neurons that they make naturally too."
    pointing = "illusory" if share.high < THIRD else "faithful" if share.low > MOST else "neither"
    return Row("natural neurons", share, meaning, pointing)


def _cosine(audited: Audited) -> Row:
    name = "cos(v W_out, u)"
    if "against" not in audited.parts:
        return Row(name, None, "Needs a direction to compare with: `against: u`.")
    against: SubspaceValue = audited.parts["against"]
    matrix = audited.matrix
    assert matrix is not None
    written = audited.of.basis.T @ matrix
    drawn = torch.randn(
        _BASELINE, len(matrix), generator=audited.draw("baseline"), dtype=torch.float64
    )
    baseline = _cosines(drawn @ matrix, against.basis)
    quantiles = torch.quantile(baseline, torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64))
    details = tuple(
        (f"random vectors, {label}", float(value))
        for label, value in zip(("median", "95%", "99%"), quantiles, strict=True)
    )
    largest = float(_cosines(written, against.basis).max())
    meaning = f"|cosine| of what v writes with u, beside {_BASELINE} random vectors through W_out."
    return Row(name, largest, meaning, "neither", details)


def _cosines(vectors: Tensor, basis: Tensor) -> Tensor:
    return (vectors @ basis).norm(dim=1) / vectors.norm(dim=1).clamp_min(1e-300)


def _output(audited: Audited) -> Row:
    """How far the patch moves the MLP's output on u, compared with how far the data do."""
    name = "output on u"
    if "against" not in audited.parts:
        return Row(name, None, "Needs a direction to project on: `against: u`.")
    if audited.labels is None:
        return Row(name, None, "Needs pairs of two classes, such as ABB <-> BAB.")
    against: SubspaceValue = audited.parts["against"]
    matrix = audited.matrix
    assert matrix is not None
    reads = matrix @ against.basis[:, 0]
    clean, patched = _combinations(audited, reads)
    details = [(f"{base}, clean", value) for base, value in clean.items()]
    details += [(f"{base} <- {source}", value) for (base, source), value in patched.items()]
    if len(clean) != 2 or len(patched) != 4:
        meaning = "Too few prompts with unrelated names for all combinations."
        return Row(name, None, meaning, "neither", tuple(details))
    natural = abs(_difference(list(clean.values())))
    shifts = [
        abs(_difference([v for (base, _), v in patched.items() if base == one])) for one in clean
    ]
    ratio = sum(shifts) / len(shifts) / natural if natural else float("inf")
    pointing = "illusory" if ratio > _BEYOND else "faithful" if ratio > 1 / _BEYOND else "neither"
    meaning = (
        "How far the output moves along u when the source's class changes, by how far the classes "
        f"themselves differ; above {_BEYOND:g} it goes where the data never do."
    )
    return Row(name, min(ratio, 1e9), meaning, pointing, tuple(details))


def _difference(values: list[Estimate]) -> float:
    return values[0].mean - values[1].mean


def _combinations(
    audited: Audited, reads: Tensor
) -> tuple[dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    """Mean projections: clean by the base's class, and patched by the classes of base and source.

    The value to patch in comes from another pair's prompt, whose names are unrelated.
    """
    basis, pairs = audited.of.basis, audited.pairs.pairs
    along = basis @ (basis.T @ reads)
    prompts = [
        (row, prompt, values[row])
        for side, values in (("base", audited.base), ("source", audited.source))
        for row, prompt in enumerate(getattr(pair, side) for pair in pairs)
    ]
    clean: dict[str, list[float]] = {}
    patched: dict[tuple[str, str], list[float]] = {}
    generator = audited.draw("unrelated")
    for pair, value in zip(pairs, audited.base, strict=True):
        clean.setdefault(pair.base.cls, []).append(float(value @ reads))
        names = {pair.answer, pair.foil}
        for cls in audited.pairs.classes:
            others = [
                other
                for row, p, other in prompts
                if p.cls == cls and not names & {pairs[row].answer, pairs[row].foil}
            ]
            if others:
                chosen = int(torch.randint(len(others), (1,), generator=generator))
                moved = float(value @ reads + (others[chosen] - value) @ along)
                patched.setdefault((pair.base.cls, cls), []).append(moved)
    return (
        {name: _mean(audited, values) for name, values in sorted(clean.items())},
        {key: _mean(audited, values) for key, values in sorted(patched.items())},
    )


def _mean(audited: Audited, values: list[float]) -> Estimate:
    return audited.mean_of(torch.tensor(values, dtype=torch.float64))


def _auc_and_d(audited: Audited, subspace: SubspaceValue) -> tuple[float, float]:
    """How far projections separate the classes: AUC, and Cohen's d; both without a sign.

    With several dimensions, projections are on the part of the natural change in the subspace.
    """
    basis, crossing = subspace.basis, audited.signs != 0
    line = basis @ (basis.T @ audited.natural) if subspace.rank > 1 else basis[:, 0]
    forward = audited.signs[crossing] > 0
    base, source = audited.base[crossing] @ line, audited.source[crossing] @ line
    first = torch.cat([base[forward], source[~forward]])
    second = torch.cat([source[forward], base[~forward]])
    spread = float(((first.var() + second.var()) / 2).sqrt()) if len(first) > 1 else 0.0
    d = abs(float(second.mean() - first.mean())) / spread if spread > 0 else 0.0
    share = auc(second, first)
    return max(share, 1 - share), d


def _random(audited: Audited, facts: Facts) -> Row:
    effects = [audited.effect(arm).mean for arm in audited.arms if arm.startswith("random ")]
    if not effects:
        return Row("random directions", None, "None were asked for.")
    meaning = "Effect of the same move turned into a random direction: mean over directions."
    details = (("largest", max(effects)), ("directions", float(len(effects))))
    return Row("random directions", sum(effects) / len(effects), meaning, "neither", details)


def _mlps(audited: Audited, facts: Facts) -> Row:
    name = "DAS on random MLPs"
    effects = {arm: audited.effect(arm) for arm in audited.arms if arm.startswith("mlp ")}
    if not effects:
        return Row(name, None, _no_training(audited))
    mean = sum(e.mean for e in effects.values()) / len(effects)
    meaning = "Effect that DAS reaches where no feature can be: an MLP with random weights."
    pointing = "illusory" if mean >= HALF * facts.effect.mean > 0 else "neither"
    details = tuple((f"seed {arm.split()[1]}", effect) for arm, effect in effects.items())
    return Row(name, mean, meaning, pointing, details)


def _sizes(audited: Audited) -> Row:
    name = "DAS by number of neurons"
    effects = {
        int(arm.split()[1]): audited.effect(arm) for arm in audited.arms if arm.startswith("das ")
    }
    if not effects:
        return Row(name, None, _no_training(audited))
    largest, width = max(effects), audited.base.shape[1]
    few = [e.mean for size, e in effects.items() if size <= width / 16]
    grows = bool(few) and max(few) < effects[largest].mean / 4
    meaning = (
        "Effect that DAS reaches with so many neurons, drawn at random. One that only many neurons "
        "together reach is less likely a feature of some of them."
    )
    details = tuple((f"{size} neurons", effects[size]) for size in sorted(effects))
    pointing = "illusory" if grows else "neither"
    return Row(name, effects[largest].mean, meaning, pointing, details)


def _no_training(audited: Audited) -> str:
    if not audited.text:
        return "A toy model has no answers to train for."
    if audited.matrix is None:
        return "Only for the hidden layer of an MLP."
    return "Needs pairs with a .train part, or was not asked for."
