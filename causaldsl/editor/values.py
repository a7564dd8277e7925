"""What a name stands for, in words: its kind, its shape, what it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from causaldsl.check.attributed import CheckedAttribution
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.check.generated import Generation
from causaldsl.check.kinds import describe
from causaldsl.check.measurements import Measurement
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.check.places import Place
from causaldsl.check.prompts import Lexicon, PromptFamily
from causaldsl.check.sets import Members
from causaldsl.check.statements.metrics import CheckedMetric
from causaldsl.check.tabled import Table
from causaldsl.check.values import Applied, CheckedTrace, Histogram
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.shapes import ModelDims
from causaldsl.shown import visible
from causaldsl.vocabulary.attributions import NUMBERS
from causaldsl.vocabulary.traces import TOTALS
from causaldsl.vocabulary.types import MatrixType, NumberType, SubspaceType

_MOST = 6
"""How many of many things are named."""


def lines_about(value: Any, shapes: ModelDims | None) -> list[str]:
    """What a value is, in a line, and what else there is to know."""
    return [visible(line) for line in _lines(value, shapes)]


def _some(items: Iterable[Any]) -> str:
    found = [str(item) for item in items]
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return ", ".join(found[:_MOST]) + more


def _width(place: Place, shapes: ModelDims | None) -> str:
    width = place.site.width(shapes) if shapes is not None else None
    return f"{width} dimensions" if width is not None else "width known at run time"


@singledispatch
def _lines(value: Any, shapes: ModelDims | None) -> list[str]:
    return [describe(value)]


@_lines.register
def _(value: str, shapes: ModelDims | None) -> list[str]:
    return ["a text", value]


@_lines.register
def _(value: Applied, shapes: ModelDims | None) -> list[str]:
    made = f"made by `{value.word.word}`" if hasattr(value.word, "word") else ""
    match value.type:
        case NumberType():
            known = value.number
            return [f"a number: {known:g}" if known is not None else "a number, known after a run"]
        case SubspaceType(width, rank):
            size = "rank known at run time" if rank is None else f"rank {rank}"
            home = f"at {value.home}" if value.home is not None else ""
            return [f"a subspace of {width} dimensions, {size}", " ".join([made, home]).strip()]
        case MatrixType(inputs, outputs):
            return [f"a matrix ({inputs}, {outputs}): inputs, outputs"]
    return [value.kind, made]


@_lines.register
def _(value: Place, shapes: ModelDims | None) -> list[str]:
    at = f" @ {value.position}" if value.position is not None else ""
    return [f"a site: {value.site}{at}", _width(value, shapes), value.site.word.doc]


@_lines.register
def _(value: CheckedDictionary, shapes: ModelDims | None) -> list[str]:
    form, site = value.dictionary.form, value.site
    at = f"{site.read}" if site.read == site.written else f"{site.read} -> {site.written}"
    trained = f", trained on {form.model}" if form.model else ""
    return [
        f"a dictionary of {form.features} features at {at}",
        f"{form.activation}{f' {form.k}' * bool(form.k)}, in {form.layout}'s layout{trained}",
    ]


@_lines.register
def _(value: Members, shapes: ModelDims | None) -> list[str]:
    return [f"{value.kind}: {len(value.members)}", _some(value.members)]


@_lines.register
def _(value: ModelSpec, shapes: ModelDims | None) -> list[str]:
    dims = value.shapes
    if not dims.text:
        return [f"a toy model: {value.name}", f"{dims.d_mlp} neurons"]
    heads = f"{dims.n_heads} heads of {dims.d_head}"
    if dims.n_kv_heads != dims.n_heads:
        heads += f" ({dims.n_kv_heads} key-value heads)"
    return [
        f"a model: {value.name}",
        f"{dims.architecture}: {dims.n_layers} layers, {heads}",
        f"d_model {dims.d_model}, d_mlp {dims.d_mlp}, vocabulary {dims.d_vocab}, "
        f"up to {dims.n_ctx} tokens",
    ]


@_lines.register
def _(value: Lexicon, shapes: ModelDims | None) -> list[str]:
    left_out = f", {len(value.dropped)} left out" if value.dropped else ""
    columns = [f"columns: {_some(value.columns)}"] if value.columns else []
    return [f"a lexicon of {len(value.words)} words{left_out}", _some(value.words), *columns]


@_lines.register
def _(value: PromptFamily, shapes: ModelDims | None) -> list[str]:
    roles = {role: len(list(value.of_role(role))) for role in ("train", "test")}
    counts = ", ".join(f"{n} {role}" for role, n in roles.items())
    positions = [name for name, _, _ in value.places]
    return [f"prompts: {counts} templates", f"positions: {_some([*positions, 'END'])}"]


@_lines.register
def _(value: PairSet, shapes: ModelDims | None) -> list[str]:
    what = "prompts" if isinstance(value, PromptSet) or not value.paired else "pairs"
    first = value.pairs[0] if value.pairs else None
    shown = [f"base: {first.base.text}"] if first is not None and first.base.text else []
    if first is not None and value.paired and first.source.text:
        shown.append(f"source: {first.source.text}")
    return [f"{len(value)} {what}", *shown]


@_lines.register
def _(value: PairFamily, shapes: ModelDims | None) -> list[str]:
    parts = value.parts
    counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    any_part = value.whole or next(iter(parts.values()), None)
    return [f"pairs: {counts or len(any_part or ())}", *(_lines(any_part, shapes)[1:])]


@_lines.register
def _(value: Measurement, shapes: ModelDims | None) -> list[str]:
    axes = [f"{axis.name} ({len(axis.labels)})" for axis in value.axes]
    arms = dict.fromkeys(run.arm for run in value.runs)
    shape = f"over {', '.join(axes)}" if axes else f"arms {_some(a for a in arms if a)}"
    return [
        f"{value.kind} on {len(value.pairs)} pairs of {value.pairs.name}",
        f"{shape}; reports {', '.join(value.metrics)}",
    ]


@_lines.register
def _(value: Generation, shapes: ModelDims | None) -> list[str]:
    reports = [*(["text"] if value.shows else []), *dict(value.metrics)]
    return [
        f"texts behind {len(value.pairs)} prompts of {value.pairs.name}",
        f"arms {_some(run.name for run in value.runs)}; reports {', '.join(reports)}",
    ]


@_lines.register
def _(value: CheckedMetric, shapes: ModelDims | None) -> list[str]:
    return ["a metric of the program's own", f"`{value.metric.doc}`"]


@_lines.register
def _(value: Table, shapes: ModelDims | None) -> list[str]:
    axes = [f"{axis.name} ({len(axis.labels)})" for axis in value.axes]
    return [f"a table over {', '.join(axes)}", f"arms {_some(value.cells)}"]


@_lines.register
def _(value: Histogram, shapes: ModelDims | None) -> list[str]:
    return ["a histogram", f"arms {_some(arm.name for arm in value.arms)}", _some(value.classes)]


@_lines.register
def _(value: CheckedTrace, shapes: ModelDims | None) -> list[str]:
    return [
        f"a trace of {value.metric} on {len(value.pairs)} pairs",
        f"through {len(value.heads)} heads and {len(value.mlps)} MLPs at {_some(value.positions)}",
    ]


def sources_of(values: Iterable[Any]) -> dict[str, str]:
    """The names that sources have in some of these values, with what they are."""
    families = [value for value in values if isinstance(value, PairFamily)]
    return {name: "a source of pairs" for family in families for name in family.sources}


@_lines.register
def _(value: CheckedAttribution, shapes: ModelDims | None) -> list[str]:
    count = f"{len(value.nodes)} estimates" if shapes is not None else "estimates"
    return [
        f"an attribution to {value.metric} on {len(value.pairs)} pairs",
        f"{count}; {len(value.runs)} of them measured too",
    ]


def parts_of(value: Any) -> dict[str, str]:
    """What can stand behind the dot of a value, with what it is."""
    if isinstance(value, CheckedDictionary):
        return {"features": f"{value.dictionary.form.features} features; `[12]` is one"}
    if isinstance(value, PairFamily):
        return {name: f"{len(part)} pairs" for name, part in value.parts.items()}
    if isinstance(value, PairSet):
        named = {name: f"the sources `{name}`" for name in value.sources}
        return {"base": "the bases", "source": "the sources", **named}
    if isinstance(value, Measurement):
        arms = dict.fromkeys(run.arm for run in value.runs)
        named = {arm: "an arm" for arm in arms if arm}
        return named | dict.fromkeys(value.metrics if value.axes else (), "a metric")
    if isinstance(value, Generation):
        return {run.name: "an arm" for run in value.runs}
    if isinstance(value, Table):
        return dict.fromkeys(value.cells, "an arm")
    if isinstance(value, Histogram):
        return {arm.name: "an arm" for arm in value.arms}
    if isinstance(value, CheckedAttribution):
        return NUMBERS if value.runs else {}
    if isinstance(value, CheckedTrace):
        return TOTALS | {"heads": "shares of heads, by `[l.h]`", "mlps": "shares of MLPs, by `[l]`"}
    return {}
