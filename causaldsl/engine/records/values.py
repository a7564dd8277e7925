"""What has a name of its own: numbers and subspaces; probes behind them, and claims."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.drawn import Drawn
from causaldsl.engine.records import gathers
from causaldsl.engine.records.measures import numbers as measured
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.numbers import Verdict
from causaldsl.results.records import FELL, HELD, UNDECIDED


def _named(program: CheckedProgram, session: Session, kind: type) -> dict[str, Any]:
    keys = {name: session.graph.key_of(name) for name in program.named}
    found = {name: session.values.get(key) for name, key in keys.items()}
    return {name: value for name, value in found.items() if isinstance(value, kind)}


@gathers("numbers")
def numbers(program: CheckedProgram, session: Session) -> dict[str, Any]:
    named = _named(program, session, float)
    return {name: float(value) for name, value in named.items()}


@gathers("intervals")
def intervals(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {}
    for name, value in _named(program, session, float).items():
        if isinstance(value, Drawn) and value.make is not None:
            n = value.draws().spread.n
            low, high = value.interval() if n > 1 else (value, value)
            found[name] = {"mean": float(value), "n": n, "low": float(low), "high": float(high)}
    return found


@gathers("subspaces")
def subspaces(program: CheckedProgram, session: Session) -> dict[str, Any]:
    named = _named(program, session, SubspaceValue)
    return {name: _subspace(session, session.graph.key_of(name), v) for name, v in named.items()}


def subspace_tensors(program: CheckedProgram, session: Session) -> dict[str, dict[str, Any]]:
    """The tensors to save of every named subspace: its basis, and the vectors as they were made."""
    found = {}
    for name, value in _named(program, session, SubspaceValue).items():
        tensors = {"basis": value.basis, "vectors": value.vectors}
        found[name] = {k: t.contiguous().cpu() for k, t in tensors.items()}
    return found


@gathers("probes")
def probes(program: CheckedProgram, session: Session) -> dict[str, Any]:
    return {
        session.graph.name_of(key) or f"{details['made']} {key}": details
        for key, details in session.probes.items()
    }


@gathers("expectations")
def expectations(program: CheckedProgram, session: Session) -> list[dict[str, Any]]:
    keys = session.graph.keys("claim")
    return [
        {"text": claim.text, "place": claim.span.place, "selected": claim.selected}
        | _verdict(session.values[key])
        for claim, key in zip(program.claims, keys, strict=True)
    ]


def _verdict(value: Verdict) -> dict[str, Any]:
    found = asdict(value)
    held = found.pop("held")
    return found | {"verdict": UNDECIDED if held is None else HELD if held else FELL}


def _subspace(session: Session, key: str, value: SubspaceValue) -> dict[str, Any]:
    fit, trained = session.graph.made.get(f"fit of {key}"), session.training.get(key)
    effects = {
        part: measured(session.values[measure]["patched"])
        for part, measure in (fit.parts if fit else {}).items()
    }
    return {
        "made": session.graph.operation(key).label,
        "width": value.vectors.shape[0],
        "rank": value.rank,
        "norm": float(value.vectors.norm()),
        "losses": list(trained.losses) if trained else None,
        "held_out_losses": list(trained.held_out) if trained and trained.held_out else None,
        "neurons": _support(value),
        "effects": effects or None,
    }


def _support(value: SubspaceValue) -> list[int] | None:
    """Indices of the coordinates that are not 0 throughout, if some are."""
    used = value.vectors.abs().amax(1) > 0
    return None if used.all() or not used.any() else used.nonzero()[:, 0].tolist()
