"""Traces and the numbers read off them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.drawn import Drawn, combined
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.tracing.runner import Runner, Setting, Values
from causaldsl.engine.tracing.trace import Case, Traced, Tracer
from causaldsl.engine.words.runs import changes_of
from causaldsl.graph.operations import SiteAt, TraceWord
from causaldsl.plan.components import changed_at, components_of, streams_behind
from causaldsl.vocabulary.traces import RankCorrelation, TraceNumber

_ROUNDING = {"bfloat16": 1e-2, "float32": 1e-5, "float64": 1e-11}
"""Changes of a logit difference up to this share of it are the arithmetic's."""


@evaluates(TraceWord)
def trace(here: Here[TraceWord]) -> Traced:
    session, operation, word = here.session, here.operation, here.word
    base, source = here.runs("base"), here.runs("source")
    components = components_of(word)
    parallel = session.loaded.spec.shapes.parallel
    streams = streams_behind(session.graph, operation, parallel)
    on = [
        Setting(c.at, _by_group(base, c.by_pair(len(base.prompts))), c.basis, c.add, c.form)
        for c in changes_of(session, operation)
    ]
    case = Case(
        on=on,
        naturally=[_from_source(at, base, source) for at in changed_at(session.graph, operation)],
        stream=[_from_source(at, base, source) for at in streams],
        components=components,
        base={c: _by_group(base, base.read(c.at)) for c in components},
        at_end=lambda component: _at_end(base, component.at),
        itself_at_end=any(_at_end(base, setting.at) for setting in on),
        top=word.top,
        rounding=_ROUNDING[session.settings.dtype],
        parallel=parallel,
    )
    name = session.graph.name_of(operation.key) or "trace"

    def progress(what: str, done: int, total: int) -> None:
        session.progress(f"trace {name}: {what}", done, total)

    bootstrap = session.bootstrap(here.pairs)
    found = Tracer(Runner(base), case, bootstrap, progress).trace()
    if not found.has_shares:
        here.note(f"trace {name}: the total effect is 0, so its shares are shown as 0")
    return found


@evaluates(TraceNumber)
def trace_number(here: Here[TraceNumber], trace: Traced) -> float:
    """A number with its draws; how many edges are dormant was decided on intervals already.

    Nothing can be claimed of a share of what may be 0.
    """
    name, total = here.word.name, trace.total
    if name == "dormant":
        return float(trace.dormant)
    found = {"total": total, "explained": trace.explained}
    estimate = found[name] if name in found else trace.by_name[name].share
    if name != "total" and trace.has_shares and total.low <= 0 <= total.high:
        why = f"it is a share of {total.mean:.3g} [{total.low:.3g}, {total.high:.3g}], maybe of 0"
        return Drawn(estimate.mean, withheld=why)
    return estimate.mean if estimate.drawn is None else estimate.drawn


@evaluates(RankCorrelation)
def rank_correlation(left: Traced, right: Traced) -> float:
    common = [name for name in left.by_name if name in right.by_name]
    sides = [[trace.by_name[name].share for name in common] for trace in (left, right)]
    found = _correlation(*(torch.tensor([[s.mean for s in side]]).double() for side in sides))
    if not bool(found.isfinite()):
        raise RunFailure(
            "this rank correlation is not defined: in one trace all components have the same share",
            "trace an intervention that has an effect, through components that carry it",
        )

    def formula(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        first, second = lows[: len(common)], lows[len(common) :]
        drawn = _correlation(torch.stack(list(first), 1), torch.stack(list(second), 1))
        return drawn, drawn

    drawn = [s.mean if s.drawn is None else s.drawn for side in sides for s in side]
    return combined(float(found), drawn, formula)


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    """Spearman's correlation (r,) of the rows of two tables (r, c).

    Shares that differ by rounding alone are equal: their order would be chance.
    """
    ranks = [
        torch.as_tensor(rankdata(side.round(decimals=6).numpy(), axis=1)) for side in (left, right)
    ]
    first, second = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def _from_source(at: SiteAt, base: PromptRuns, source: PromptRuns) -> Setting:
    """The whole site as it is in the source."""
    return Setting(at, _by_group(base, source.read(at)))


def _by_group(runs: PromptRuns, by_pair: Sequence[Tensor]) -> Values:
    return [torch.stack([by_pair[row] for row in group.rows.tolist()]) for group in runs.groups]


def _at_end(runs: PromptRuns, at: SiteAt) -> bool:
    """Whether the logits are read off this very position."""
    return any(at.position.resolve(prompt)[-1] == prompt.length - 1 for prompt in runs.prompts)
