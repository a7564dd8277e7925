"""Kinds of planted models, and the directions that are audited in each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.engine.planting import trained
from tests.engine.planting.build import (
    D_HEAD,
    D_MODEL,
    DORMANT,
    FEATURE,
    LOST,
    RIVAL,
    Built,
    Spec,
    build,
)
from tests.engine.planting.truth import Bench

Reads = tuple[dict[str, float], ...]
_A, _C = 1.5, 2.0


@dataclass(frozen=True)
class Direction:
    """A subspace (d, k); ``exact`` if it is a planted feature and nothing else."""

    name: str
    vectors: Tensor
    exact: bool = False


def _spec(kind: str, seed: int, chance: random.Random, **given: object) -> Spec:
    family, layers = chance.choice(("gpt2", "llama")), chance.choice((3, 4))
    options: dict[str, object] = {
        "site": "mlp_hidden",
        "width": chance.choice((40, 48, 64)),
        "style": chance.choice(("neurons", "rotated", "superposed")),
        "b": chance.choice((0.7, 1.0, 1.5)),
        "noise": chance.choice((0.03, 0.1, 0.3, 0.5)),
        "dormant": chance.choice((0.02, 0.02, 0.1, 0.3)),
        "together": chance.random() < 0.2,
        "classes": chance.random() < 0.7,
        "layer": chance.randrange(layers - 1),
        "reads": _reads(chance),
        **given,
    }
    return Spec(kind=kind, seed=seed, family=family, layers=layers, **options)  # type: ignore[arg-type]


def _reads(
    chance: random.Random,
    lost: dict[str, float] | None = None,
    feature: dict[str, float] | None = None,
    dormant: dict[str, float] | None = None,
    rival: dict[str, float] | None = None,
) -> Reads:
    """e1, e2, e3, g, and two features that nothing of the answer reads."""
    angle = math.radians(chance.choice((0, 30, 60)))
    c = _C * chance.choice((0.7, 1.0, 1.5))
    return (
        {"u": _A} if feature is None else feature,
        lost or {},
        {"u": c * math.cos(angle), "t": c * math.sin(angle)} if dormant is None else dormant,
        rival or {"y": 1.0},
        {"w": 1.0},
        {"t": 1.0, "y": 0.5},
    )


def _null(seed: int, chance: random.Random) -> Spec:
    return _spec("null", seed, chance)


def _unread(seed: int, chance: random.Random) -> Spec:
    return _spec("unread", seed, chance, reads=_reads(chance, {"w": chance.choice((1.0, 2.0))}))


def _weak(seed: int, chance: random.Random) -> Spec:
    lost = {"u": _A * chance.choice((0.05, 0.1, 0.2))}
    return _spec("weak", seed, chance, reads=_reads(chance, lost))


def _square(seed: int, chance: random.Random) -> Spec:
    reads = _reads(chance, {"w": chance.choice((0.5, 1.0, 2.0))})
    return _spec("square", seed, chance, reads=reads, width=D_MODEL)


def _opposed(seed: int, chance: random.Random) -> Spec:
    reads = _reads(chance, rival={"u": -_A * chance.choice((0.5, 0.8, 1.0))})
    given = {"rival": chance.choice((0.8, 1.0)), "direct": 1.0}
    return _spec("opposed", seed, chance, reads=reads, **given)


def _apart(seed: int, chance: random.Random) -> Spec:
    reads = _reads(
        chance,
        feature={"u": _A, "x": _A},
        rival={"v": -_A * chance.choice((0.6, 0.9)), "y": _A},
        lost=chance.choice(({}, {"w": 1.0})),
    )
    given = {"rival": chance.choice((0.8, 1.0)), "direct": 1.0}
    return _spec("apart", seed, chance, reads=reads, **given)


def _several(seed: int, chance: random.Random) -> Spec:
    reads = _reads(
        chance,
        feature={"u": 0.7 * _A, "x": 0.7 * _A},
        dormant=chance.choice(({"x": _C}, {"u": 1.0, "x": 2.0}, {"u": _C})),
        lost=chance.choice(({}, {"w": 1.0}, {"y": 1.5})),
    )
    return _spec("several", seed, chance, reads=reads, late=chance.choice((0.8, 1.2)))


def _silent(seed: int, chance: random.Random) -> Spec:
    reads = _reads(chance, chance.choice(({}, {"w": 1.0})), feature={})
    return _spec("silent", seed, chance, reads=reads, direct=1.0)


def _stream(site: str, kind: str) -> Callable[[int, random.Random], Spec]:
    def make(seed: int, chance: random.Random) -> Spec:
        style = chance.choice(("rotated", "rotated", "superposed"))
        a = chance.choice((0.0, _A, _A, _A))
        rival = chance.choice((0.0, 0.0, 0.8))
        reads = _reads(
            chance,
            feature={"u": a},
            dormant={"u": _C * chance.choice((0.7, 1.0, 1.5))},
            rival={"u": -0.6 * a} if rival else {"y": 1.0},
            lost={"u": chance.choice((0.0, 0.0, 0.1)) * _A},
        )
        given = {
            "width": D_MODEL,
            "style": style,
            "rival": rival,
            "direct": 0.5 + 0.5 * bool(rival),
        }
        given["copies"] = chance.random() < 0.3
        return _spec(kind, seed, chance, site=site, reads=reads, **given)

    return make


def _z(seed: int, chance: random.Random) -> Spec:
    style = chance.choice(("rotated", "superposed"))
    lost = chance.choice(({}, {"w": 1.0}, {"w": 2.0}))
    reads = _reads(chance, lost)
    return _spec("head z", seed, chance, site="head.z", width=D_HEAD, style=style, reads=reads)


KINDS: dict[str, Callable[[int, random.Random], Spec]] = {
    "null": _null,
    "unread": _unread,
    "weak": _weak,
    "square": _square,
    "opposed": _opposed,
    "apart": _apart,
    "several": _several,
    "silent": _silent,
    "residual": _stream("resid_post", "residual"),
    "attention": _stream("attn_out", "attention"),
    "mlp out": _stream("mlp_out", "mlp out"),
    "head z": _z,
}


ALL = (*KINDS, "trained")


def built(kind: str, seed: int) -> Built:
    """The model of a kind with this seed."""
    if kind == "trained":
        return trained.build(trained.spec(seed))
    return build(KINDS[kind](seed, random.Random(f"{kind} {seed}")))


def directions(bench: Bench) -> list[Direction]:
    """What is audited: the feature, illusions in many mixes, both together, and nothing."""
    return _learned(bench) if bench.built.spec.kind == "trained" else _planted(bench.built)


def _learned(bench: Bench) -> list[Direction]:
    mean = (bench.moves * bench.signs[:, None]).mean(0)
    draw = torch.Generator().manual_seed(bench.built.spec.seed)
    found = [Direction("mean difference", mean[:, None])]
    for seed in range(5):
        v = trained.learned(bench.module, bench.built.spec, bench.moves, seed)
        found.append(Direction(f"learned {seed}", v[:, None]))
    loose = torch.randn(len(mean), 3, generator=draw, dtype=torch.float64)
    found.append(Direction("learned plane", torch.stack([v, loose[:, 0]], 1)))
    found.append(
        Direction(
            "mean difference noisy",
            (mean / mean.norm() + 0.3 * loose[:, 1] / loose[:, 1].norm())[:, None],
        )
    )
    return [*found, Direction("random", loose[:, 2:])]


def _planted(built: Built) -> list[Direction]:
    e, chance = built.frame, random.Random(f"directions {built.spec.kind} {built.spec.seed}")
    draw = torch.Generator().manual_seed(built.spec.seed + 10_000)

    def loose() -> Tensor:
        noise = torch.randn(len(e), generator=draw, dtype=torch.float64)
        return noise / noise.norm()

    def unit(v: Tensor) -> Tensor:
        return v / v.norm()

    def lean(share: float) -> Tensor:
        return (1 - share) ** 0.5 * e[:, LOST] + share**0.5 * e[:, DORMANT]

    feature = e[:, FEATURE]
    one, two, three = (
        chance.choice(shares) for shares in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (0.7, 0.8, 0.9))
    )
    part = chance.choice((0.2, 0.5, 0.8))
    found = [Direction(f"illusion {share:g}", lean(share)[:, None]) for share in (one, two, three)]
    found += [
        Direction("illusion noisy", (unit(lean(two)) + 0.25 * loose())[:, None]),
        Direction("illusion plane", torch.stack([lean(two), loose()], 1)),
        Direction("lost", e[:, LOST : LOST + 1]),
        Direction("another", e[:, RIVAL + 1 : RIVAL + 2]),
    ]
    if built.spec.reads[FEATURE].get("u"):
        mixed = part**0.5 * feature + (1 - part) ** 0.5 * e[:, DORMANT]
        found += [
            Direction("feature", feature[:, None], exact=True),
            Direction("feature noisy", (feature + chance.choice((0.15, 0.3)) * loose())[:, None]),
            Direction("feature plane", torch.stack([feature, loose()], 1)),
            Direction("feature and lost", unit(feature + 0.5 * e[:, LOST])[:, None]),
            Direction(f"feature {part:g} and dormant", mixed[:, None]),
        ]
        if built.spec.rival:
            found.append(Direction("rival", e[:, RIVAL : RIVAL + 1], exact=True))
    if built.groups:
        axes = torch.eye(len(e), dtype=torch.float64)
        for name, k in (("feature", FEATURE), ("rival", RIVAL)):
            if name == "feature" or built.spec.rival:
                found.append(Direction(f"neurons of the {name}", axes[:, built.groups[k]], True))
    return found
