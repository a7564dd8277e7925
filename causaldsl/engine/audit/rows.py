"""The rows of an audit's table, in their order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.audit.evidence import Audited, Row, points
from causaldsl.engine.audit.rule import (
    APART,
    CAVEAT,
    CLIP,
    FIRST,
    LENGTH,
    NEURONS,
    SECOND,
    WHOLE,
    WITHIN,
    Bounds,
    decide,
)
from causaldsl.engine.audit.stability import stability
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.metrics import auc
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.vocabulary.audits import HELD

_BOUNDS = Bounds()
_BASELINE = 1000
_NO_SHARE = (
    f"A share of v's effect, which is not clearly above {_BOUNDS.nothing:g}, would say nothing."
)


def record(audited: Audited) -> dict[str, Any]:
    """Verdict, rule and evidence as plain data."""
    decision = decide(audited.facts)
    rows = [_effect(audited)]
    if audited.reader == "W_out":
        rows += [_neurons(audited), _clip(audited)]
    rows += [_components(audited, *named) for named in zip((FIRST, SECOND), HELD, strict=True)]
    rows += [_within(audited), _whole(audited), _active(audited)]
    if audited.matrix is not None:
        rows += [_norms(audited), _row(audited), _null(audited), _plane(audited)]
    else:
        meaning = "No one matrix is known that alone reads this site and divides it so."
        rows.append(Row("row part alone", None, meaning))
    rows.append(_separation(audited))
    if audited.reader == "W_out":
        rows += [_cosine(audited), _output(audited)]
    rows += [_random(audited), _mlps(audited), _sizes(audited)]
    return {
        "verdict": decision.verdict,
        "rule": decision.rule,
        "decided_by": list(decision.decided_by),
        "evidence": [row.plain() for row in rows],
        "stability": stability(audited),
        "caveat": CAVEAT,
    }


def _effect(audited: Audited) -> Row:
    meaning = "Share of the output's difference between base and source that the patch makes up."
    return Row("subspace effect", audited.facts.effect, meaning)


def _whole(audited: Audited) -> Row:
    meaning = "The whole site patched. Parts of it may undo one another."
    share = audited.facts.whole
    details = () if share is None else (("share of v's effect", share),)
    return Row(WHOLE, audited.effect("whole"), meaning, "neither", details)


def _clip(audited: Audited) -> Row:
    share = audited.facts.clip
    if share is None:
        return Row(CLIP, None, _NO_SHARE)
    meaning = (
        "Share of v's effect when the patch is cut to what lies between 0 and the pair's own "
        "movement, neuron by neuron."
    )
    pointing = points(share, _BOUNDS.low, _BOUNDS.most, _BOUNDS.top)
    return Row(CLIP, share, meaning, pointing, scale=(_BOUNDS.low, _BOUNDS.most))


def _within(audited: Audited) -> Row:
    share = audited.facts.within
    if share is None:
        return Row(WITHIN, None, _NO_SHARE)
    meaning = (
        "Share of v's effect when the patch is cut to the pair's own movement in the principal "
        f"components that hold {HELD[1]:.1%} of the variance, component by component."
    )
    return Row(WITHIN, share, meaning)


def _components(audited: Audited, name: str, held: float) -> Row:
    facts = audited.facts
    share = facts.first if name == FIRST else facts.second
    if share is None:
        return Row(name, None, _NO_SHARE)
    meaning = (
        "Share of v's effect by the part of the patch in the principal components that hold "
        f"{held:.1%} of the activations' variance."
    )
    details: tuple[tuple[str, Estimate | float], ...] = ()
    if name == FIRST:
        details = ((LENGTH, facts.length), (APART, facts.along))
    pointing = points(share, _BOUNDS.low, _BOUNDS.high, _BOUNDS.top)
    if pointing == "illusory" and facts.along > _BOUNDS.apart:
        pointing = "neither"
    return Row(name, share, meaning, pointing, details, (_BOUNDS.low, _BOUNDS.high))


def _norms(audited: Audited) -> Row:
    hidden = audited.hidden
    meaning = (
        f"Norm of v's part that {audited.reader} sends to 0, v at length 1; the rest is its row "
        "part."
    )
    assert audited.rows is not None
    chance = (1 - audited.rows.shape[1] / len(audited.rows)) ** 0.5
    details = (("row norm", max(0.0, 1 - hidden) ** 0.5), ("null norm by chance", chance))
    return Row("null norm", hidden**0.5, meaning, "neither", details)


def _row(audited: Audited) -> Row:
    share = audited.share("row")
    if share is None:
        return Row("row part alone", None, _NO_SHARE)
    meaning = (
        f"Share of v's effect when only what {audited.reader} sees of v is patched, by its own "
        "difference. Other features on the same line count too, so it says little by itself."
    )
    return Row("row part alone", share, meaning, details=(("effect", audited.effect("row")),))


def _null(audited: Audited) -> Row:
    meaning = (
        f"Effect of patching only what {audited.reader} does not see: none, unless numbers are "
        "rounded."
    )
    return Row("null part alone", audited.effect("null"), meaning)


def _plane(audited: Audited) -> Row:
    share = audited.share("plane")
    if share is None:
        return Row("row and null as a plane", None, _NO_SHARE)
    meaning = "Share of v's effect when both parts are patched, each by its own difference."
    return Row("row and null as a plane", share, meaning)


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
    meaning = f"Area under the ROC curve of projections, {classes}; 0.5 is chance."
    return Row(name, found["v"][0], meaning, details=tuple(details))


def _active(audited: Audited) -> Row:
    share, dormant = audited.share("active"), audited.share("dormant")
    if share is None or dormant is None:
        return Row("active part", None, _NO_SHARE)
    cosine = float((audited.of.basis.T @ audited.natural).norm())
    details = (("share of the rest", dormant), ("|cos| with natural change", cosine))
    meaning = (
        "Share of v's effect by the part of the same move along which the classes differ on the "
        "average. A feature of several that change together has a small one."
    )
    return Row("active part", share, meaning, "neither", details)


def _neurons(audited: Audited) -> Row:
    share = audited.facts.neurons
    if share is None:
        return Row(NEURONS, None, _NO_SHARE)
    meaning = "Share of the patch's movement of neurons that they make naturally too."
    pointing = points(share, _BOUNDS.low, _BOUNDS.most, _BOUNDS.top)
    return Row(NEURONS, share, meaning, pointing, scale=(_BOUNDS.low, _BOUNDS.most))


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
    meaning = (
        "How far the output moves along u when the source's class changes, by how far the classes "
        "themselves differ."
    )
    return Row(name, min(ratio, 1e9), meaning, "neither", tuple(details))


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


def _random(audited: Audited) -> Row:
    effects = [audited.effect(arm).mean for arm in audited.arms if arm.startswith("random ")]
    if not effects:
        return Row("random directions", None, "None were asked for.")
    meaning = "Effect of the same move turned into a random direction: mean over directions."
    details = (("largest", max(effects)), ("directions", len(effects)))
    return Row("random directions", sum(effects) / len(effects), meaning, "neither", details)


def _mlps(audited: Audited) -> Row:
    name = "DAS on random MLPs"
    effects = {arm: audited.effect(arm) for arm in audited.arms if arm.startswith("mlp ")}
    if not effects:
        return Row(name, None, _no_training(audited))
    mean = sum(e.mean for e in effects.values()) / len(effects)
    meaning = (
        "Effect that DAS reaches where no feature can be: an MLP with random weights. It says what "
        "DAS can do, not what v is."
    )
    details = tuple((f"seed {arm.split()[1]}", effect) for arm, effect in effects.items())
    return Row(name, mean, meaning, "neither", details)


def _sizes(audited: Audited) -> Row:
    name = "DAS by number of neurons"
    effects = {
        int(arm.split()[1]): audited.effect(arm) for arm in audited.arms if arm.startswith("das ")
    }
    if not effects:
        return Row(name, None, _no_training(audited))
    meaning = "Effect that DAS reaches with so many neurons, drawn at random."
    details = tuple((f"{size} neurons", effects[size]) for size in sorted(effects))
    return Row(name, effects[max(effects)].mean, meaning, "neither", details)


def _no_training(audited: Audited) -> str:
    if not audited.text:
        return "A toy model has no answers to train for."
    if audited.matrix is None:
        return "Only for the hidden layer of an MLP."
    return "Needs pairs with a .train part, or was not asked for."
