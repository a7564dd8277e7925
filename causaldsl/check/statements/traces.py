"""`trace`: which components may carry the effect of interventions, and at which positions."""

from __future__ import annotations

from collections.abc import Sequence

from causaldsl.check.apply import each_once
from causaldsl.check.context import Context, checks
from causaldsl.check.in_force import plain, unstaged
from causaldsl.check.interventions import site_of
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place, Point, PositionRef
from causaldsl.check.stages import check_sites, components, is_range_word
from causaldsl.check.values import Applied, CheckedTrace
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.traces import TRACED_METRICS

_DEFAULT_TOP, _MOST = 12, 40
_WORDS = {ast.Through: "through", ast.Top: "top", ast.TracedAt: "at"}


@checks(ast.Trace, experiment=True)
def trace(context: Context, node: ast.Trace) -> CheckedTrace:
    pairs = context.pair_set(node.pairs, asked="foils")
    context.components(node.span, "to trace through")
    does = plain(
        context,
        node.interventions,
        pairs,
        "path-in-trace",
        "a trace follows interventions, and measures the paths itself",
    )
    acting = unstaged(does, node.interventions.span, "a trace")
    interventions = tuple(one for one in acting if isinstance(one, Applied))
    metric = _metric(node)
    items = each_once(node.items, _WORDS)
    heads, mlps = _components(context, items.get(ast.Through), interventions, node.span)
    return CheckedTrace(
        node.name.text,
        pairs,
        interventions,
        metric,
        heads,
        mlps,
        _top(items.get(ast.Top)),
        _positions(items.get(ast.TracedAt), interventions, pairs),
        show(node.interventions),
        node.span,
    )


def _metric(node: ast.Trace) -> str:
    offered = f"a trace can follow {', '.join(TRACED_METRICS)}"
    if node.metric is None:
        raise wrong(
            "no-metric",
            "this trace does not say which metric it follows",
            node.interventions.span,
            f"add one: trace {node.name.text} = ... to {TRACED_METRICS[0]} on ...",
        )
    name = node.metric.text if isinstance(node.metric, ast.Name) else show(node.metric)
    if name not in TRACED_METRICS:
        raise wrong("unknown-metric", f"a trace can't follow `{name}`", node.metric.span, offered)
    return name


def _top(node: ast.Top | None) -> int:
    if node is None:
        return _DEFAULT_TOP
    if not node.count.is_integer or not 1 <= int(node.count.text) <= _MOST:
        raise wrong(
            "bad-option",
            f"`top {node.count.text}` is not a number of components to draw",
            node.span,
            f"write a whole number from 1 to {_MOST}",
        )
    return int(node.count.text)


def _components(
    context: Context,
    node: ast.Through | None,
    interventions: Sequence[Applied],
    span: Span,
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Heads and MLPs, in the order of the forward pass.

    `heads` and `mlps` alone mean all that come after some intervention; one that was named must
    come after one too.
    """
    shapes = context.shapes(span)
    changed = [site_of(applied).site for applied in interventions]
    first = min(changed, key=lambda site: site.depth(shapes))
    named: Sequence[ast.Expression] = node.components if node else ()
    if not named:
        named = (ast.Name(span, "heads"), ast.Name(span, "mlps"))
    heads: set[tuple[int, int]] = set()
    mlps: set[int] = set()
    for item in named:
        group = components(context, item)
        if group.of == "kv_heads":
            raise wrong(
                "not-a-component",
                "a trace goes through heads by their outputs, and key-value heads have none",
                item.span,
                "write heads[..]",
            )
        for member in group.members:
            if group.of == "mlps":
                layer, head = int(member.number), 0
                site = Site("mlp_in", layer)
            else:
                layer, head = member.layer, member.head
                site = Site("head.z", layer, head)
            check_sites([Place(site, None, item.span)], shapes, item.span)
            if any(one.before(site, shapes) for one in changed):
                if group.of == "mlps":
                    mlps.add(layer)
                else:
                    heads.add((layer, head))
            elif not is_range_word(item):
                raise _before(group.of, layer, head, first, item.span)
    if not heads and not mlps:
        raise wrong(
            "comes-before",
            f"no component that is named comes after {first}",
            node.span if node else span,
            "trace an intervention at an earlier layer",
        )
    return tuple(sorted(heads)), tuple(sorted(mlps))


def _before(word: str, layer: int, head: int, first: Site, span: Span) -> Exception:
    name = f"MLP {layer}" if word == "mlps" else f"head {layer}.{head}"
    return wrong(
        "comes-before",
        f"{name} comes before {first}, or beside it, so it can't carry the effect",
        span,
        f"`{word}` alone means all that come after it",
    )


def _positions(
    node: ast.TracedAt | None, interventions: Sequence[Applied], pairs: PairSet
) -> tuple[str, ...]:
    """Where components are traced: as written, else every named position that can be reached."""
    if node is None:
        return _reachable(interventions, pairs)
    found: dict[str, None] = {}
    for text in node.positions:
        point = Point.parse(text)
        with located(node.span):
            for pair in pairs.pairs:
                point.resolve(pair.base)
        if all(
            point.resolve(pair.base) < start
            for pair, start in zip(pairs.pairs, _leftmost(interventions, pairs), strict=True)
        ):
            raise wrong(
                "comes-before",
                f"{point} is left of the intervention in every prompt, so nothing gets there",
                node.span,
                "information only moves to the right",
            )
        if str(point) in found:
            raise wrong("listed-twice", f"{point} is listed twice", node.span, "list it once")
        found[str(point)] = None
    return tuple(found)


def _reachable(interventions: Sequence[Applied], pairs: PairSet) -> tuple[str, ...]:
    """Names that in every base stand at or right of the first intervention; END last.

    Of two names that always mean the same token, one is kept.
    """
    bases = [pair.base for pair in pairs.pairs]
    left = _leftmost(interventions, pairs)
    # END first, so that another name for the last token gives way to it.
    names = dict.fromkeys(["END", *(name for name, _ in bases[0].positions)])
    kept: dict[tuple[int, ...], str] = {}
    for name in names:
        if all(name in base.named for base in bases):
            tokens = tuple(base.named[name] for base in bases)
            if all(token >= start for token, start in zip(tokens, left, strict=True)):
                kept.setdefault(tokens, name)
    ordered = [name for _, name in sorted(kept.items()) if name != "END"]
    return (*ordered, "END")


def _leftmost(interventions: Sequence[Applied], pairs: PairSet) -> list[int]:
    """In every base, the first token at which anything is changed."""
    references: list[PositionRef] = []
    for applied in interventions:
        position = site_of(applied).position
        assert position is not None
        references.append(position)
    return [min(min(r.resolve(pair.base)) for r in references) for pair in pairs.pairs]
