"""How values are written into a record and read back, bit by bit: a form for each kind of value.

A value is tensors and plain data. What it has beside from the session (draws of pairs, names) is
made anew when it is read. A value whose kind has no form is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet, Prompt, PromptSet, prompt_set
from causaldsl.engine.attribution.found import Attributed, rounding_of
from causaldsl.engine.bootstrap import Over, Spread
from causaldsl.engine.das import DasFit
from causaldsl.engine.drawn import Drawn, Draws, alone
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.tracing.trace import Traced, traced_again
from causaldsl.engine.words.generation import Written
from causaldsl.engine.words.histograms import Projected
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation, TraceWord
from causaldsl.model.tokens import Tokens
from causaldsl.plan.components import components_of


@dataclass(frozen=True)
class Packed:
    """A value, ready to be written: tensors by name, and what JSON can say."""

    tensors: Mapping[str, Tensor]
    plain: Any


Pack = Callable[[Session, Operation, Any], Packed | None]
"""None for a value that can't be written so that it comes back as it was."""
Unpack = Callable[[Session, Operation, Packed], Any]


@dataclass(frozen=True)
class Form:
    pack: Pack
    unpack: Unpack


def pack(session: Session, operation: Operation, value: Any) -> tuple[str, Packed] | None:
    """The name of a value's form, and the value in it; None if it can't be kept."""
    name = type(value).__name__
    form = FORMS.get(type(value))
    packed = form.pack(session, operation, value) if form is not None else None
    return None if packed is None else (name, packed)


def unpack(session: Session, operation: Operation, name: str, packed: Packed) -> Any:
    """The value of an operation from what was kept of it."""
    (form,) = [form for kind, form in FORMS.items() if kind.__name__ == name]
    return form.unpack(session, operation, packed)


def fits(graph: Graph, wanted: frozenset[str], plain: Any) -> bool:
    """Whether all that is wanted of a run was kept of it, by metrics of the same packages and
    formulas."""
    known = graph.vocabulary.metrics
    return all(plain["columns"].get(metric) == known[metric].origin for metric in wanted)


def _subspace(session: Session, operation: Operation, value: SubspaceValue) -> Packed:
    fit: DasFit | None = session.training.get(operation.key)
    tensors = {"vectors": value.vectors}
    probe = session.probes.get(operation.key)
    plain: dict[str, Any] = {"tolerance": value.tolerance, "fit": None, "probe": probe}
    if fit is not None:
        tensors["fitted"] = fit.basis
        plain["fit"] = {"losses": list(fit.losses), "held_out": list(fit.held_out)}
    return Packed(tensors, plain)


def _subspace_again(session: Session, operation: Operation, packed: Packed) -> SubspaceValue:
    fit = packed.plain["fit"]
    if packed.plain.get("probe") is not None:
        _probe_again(session, operation, packed)
    if fit is not None:
        losses, held_out = tuple(fit["losses"]), tuple(fit["held_out"])
        session.training[operation.key] = DasFit(packed.tensors["fitted"], losses, held_out)
    return SubspaceValue(packed.tensors["vectors"], packed.plain["tolerance"])


def _outcome(session: Session, operation: Operation, value: Outcome) -> Packed:
    return packed_outcome(session.graph, value)


def packed_outcome(graph: Graph, value: Outcome) -> Packed:
    known = graph.vocabulary.metrics
    of = {name: known[name].origin for name in value.columns if name != "logit_diff"}
    return Packed(value.columns, {"columns": of, "largest_change": value.largest_change})


def _outcome_again(session: Session, operation: Operation, packed: Packed) -> Outcome:
    """With the columns that this program wants, whatever else was kept."""
    wanted = ["logit_diff", *sorted(session.plan.outcomes.get(operation.key, ()))]
    columns = {name: packed.tensors[name] for name in dict.fromkeys(wanted)}
    return Outcome(columns, packed.plain["largest_change"])


def _projected(session: Session, operation: Operation, value: Projected) -> Packed:
    lengths = torch.tensor([len(one) for one in value.values])
    return Packed({"values": torch.cat(value.values), "lengths": lengths}, None)


def _projected_again(session: Session, operation: Operation, packed: Packed) -> Projected:
    run = operation.input("run")
    changed = session.graph.operation(run)
    clean = changed.input("base") if changed.inputs_as("do") else run
    values = packed.tensors["values"].split(packed.tensors["lengths"].tolist())
    classes = [prompt.cls for prompt in session.graph.prompts_of(clean)]
    return Projected(list(values), classes, session.graph.pairs_of(clean))


def _traced(session: Session, operation: Operation, value: Traced) -> Packed:
    tensors = {str(i): one.cpu() for i, one in enumerate(value.by_pair.values())}
    names = [list(name) for name in value.by_pair]
    return Packed(tensors, {"names": names, "top": [one.id for one in value.top]})


def _traced_again(session: Session, operation: Operation, packed: Packed) -> Traced:
    assert isinstance(operation.word, TraceWord)
    by_pair = {
        (arm, metric): packed.tensors[str(i)]
        for i, (arm, metric) in enumerate(packed.plain["names"])
    }
    bootstrap = session.bootstrap(_pairs(session, operation))
    return traced_again(bootstrap, components_of(operation.word), packed.plain["top"], by_pair)


def _attributed(session: Session, operation: Operation, value: Attributed) -> Packed:
    tensors = {"estimates": value.estimates, "exact": value.exact, "clean": value.clean}
    return Packed(tensors, list(value.drawn))


def _attributed_again(session: Session, operation: Operation, packed: Packed) -> Attributed:
    bootstrap, tensors = session.bootstrap(_pairs(session, operation)), packed.tensors
    estimates, exact, clean = (tensors[name] for name in ("estimates", "exact", "clean"))
    drawn, rounding = tuple(packed.plain), rounding_of(clean, session)
    return Attributed(estimates, exact, drawn, clean, bootstrap, rounding)


def _record(session: Session, operation: Operation, value: dict[str, Any]) -> Packed | None:
    return Packed({}, value) if _is_plain(value) else None


def _record_again(session: Session, operation: Operation, packed: Packed) -> Any:
    return packed.plain


def _number(session: Session, operation: Operation, value: float) -> Packed:
    return Packed({}, {"value": value, "probe": session.probes.get(operation.key)})


def _number_again(session: Session, operation: Operation, packed: Packed) -> Any:
    _probe_again(session, operation, packed)
    return packed.plain["value"]


def _drawn(session: Session, operation: Operation, value: Drawn) -> Packed | None:
    """A number with its values in draws, of pairs and of templates."""
    if value.make is not None and operation.find("base") is None:
        return None
    tensors: dict[str, Tensor] = {}
    spreads: dict[str, tuple[int, int, float]] = {}
    for over in get_args(Over) if value.make is not None else ():
        draws = value.draws(over)
        if draws.factor is not alone:
            return None
        spreads[over] = (draws.spread.n, draws.spread.free, draws.spread.short)
        tensors[f"{over} low"] = draws.low
        tensors |= {} if draws.high is draws.low else {f"{over} high": draws.high}
    plain = {
        "value": float(value),
        "spreads": spreads,
        "withheld": value.withheld,
        "measured": bool(value.pairs),
        "probe": session.probes.get(operation.key),
    }
    return Packed(tensors, plain)


def _drawn_again(session: Session, operation: Operation, packed: Packed) -> Drawn:
    _probe_again(session, operation, packed)
    plain, tensors = packed.plain, packed.tensors

    def make(over: Over) -> Draws:
        low = tensors[f"{over} low"]
        return Draws(low, tensors.get(f"{over} high", low), Spread(*plain["spreads"][over]))

    measured = plain["measured"] and operation.find("base") is not None
    pairs = frozenset([_pairs(session, operation).name] if measured else [])
    return Drawn(plain["value"], make if plain["spreads"] else None, pairs, plain["withheld"])


def _probe_again(session: Session, operation: Operation, packed: Packed) -> None:
    if packed.plain["probe"] is not None:
        session.probes[operation.key] = packed.plain["probe"]


def _texts(session: Session, operation: Operation, value: PromptSet) -> Packed:
    return Packed({"tokens": torch.tensor([prompt.ids for prompt in value.side("base")])}, None)


def _texts_again(session: Session, operation: Operation, packed: Packed) -> PromptSet:
    spec, name = session.loaded.spec, session.graph.pairs[operation.key].name
    assert spec.path is not None
    tokens = Tokens.load(spec.path, spec.bos)
    texts = packed.tensors["tokens"].tolist()
    prompts = [Prompt(tokens.decode(ids), tuple(ids)) for ids in texts]
    found = prompt_set(name, prompts, written=True)
    session.graph.pairs[operation.key] = found
    return found


def _written(session: Session, operation: Operation, value: Written) -> Packed:
    plain = {name: list(map(_listed, getattr(value, name))) for name in _OF_TEXTS}
    return Packed({}, plain)


def _written_again(session: Session, operation: Operation, packed: Packed) -> Written:
    tokens, texts, ended = (packed.plain[name] for name in _OF_TEXTS)
    return Written(tuple(map(tuple, tokens)), tuple(texts), tuple(ended))


_OF_TEXTS = ("tokens", "texts", "ended")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


FORMS: dict[type, Form] = {
    SubspaceValue: Form(_subspace, _subspace_again),
    Outcome: Form(_outcome, _outcome_again),
    Projected: Form(_projected, _projected_again),
    Traced: Form(_traced, _traced_again),
    Attributed: Form(_attributed, _attributed_again),
    dict: Form(_record, _record_again),
    float: Form(_number, _number_again),
    int: Form(_number, _number_again),
    Drawn: Form(_drawn, _drawn_again),
    PromptSet: Form(_texts, _texts_again),
    Written: Form(_written, _written_again),
}


def _pairs(session: Session, operation: Operation) -> PairSet:
    return session.graph.pairs_of(operation.input("base"))


def _is_plain(value: Any) -> bool:
    """Whether JSON gives the same back, but lists for tuples."""
    if isinstance(value, dict):
        return all(type(name) is str and _is_plain(part) for name, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def text_of(plain: Any) -> str:
    """Plain data as JSON; floats come back with the same bits."""
    return json.dumps(plain, separators=(",", ":"))
