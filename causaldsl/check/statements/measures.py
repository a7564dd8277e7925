"""`measure` and `sweep`: arms with their interventions, checked against the pairs they run on."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.check.answered import check_metrics
from causaldsl.check.circuits import check_circuits
from causaldsl.check.context import Context, checks
from causaldsl.check.doubts import warn_of_loops
from causaldsl.check.in_force import in_force, what_it_does
from causaldsl.check.loops import loops, new_name
from causaldsl.check.measurements import Axis, Measurement, Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.spelled import check_spelled
from causaldsl.diagnostics import Diagnostics, Span, wrong
from causaldsl.model.tokens import Tokens
from causaldsl.shown import visible
from causaldsl.syntax import ast
from causaldsl.vocabulary.foreign import word_meant

CLEAN = "clean"


@checks(ast.Measure, experiment=True)
def measure(context: Context, node: ast.Measure) -> Measurement:
    """Every arm under its name, and the clean run as the arm `clean`."""
    pairs = context.pair_set(node.pairs, several=True, asked="nothing")
    problems = Diagnostics()
    runs = [Run(CLEAN, (), CLEAN, (), node.span)]
    seen: dict[str, Span] = {}
    for arm in node.arms:
        with problems.collecting():
            runs.append(_run(context, arm, pairs, seen))
    metrics: tuple[str, ...] = ()
    with problems.collecting():
        metrics = _metrics(context, node.report, pairs)
    problems.raise_if_any()
    check_spelled(context, pairs, runs, metrics, node.report.span)
    check_circuits(context, runs, metrics, node.report.span)
    return Measurement(node.name.text, pairs, tuple(runs), metrics, (), node.span)


@checks(ast.Sweep, experiment=True)
def sweep(context: Context, node: ast.Sweep) -> Measurement:
    """One run for every combination of its loop variables, in order."""
    pairs = context.pair_set(node.pairs, several=True, asked="nothing")
    body = _body(node)
    axes, combinations = loops(context, node.bindings, pairs, node.span, body)
    warn_of_loops(context, node.bindings, body)
    metrics = _metrics(context, node.report, pairs)
    runs = [Run(CLEAN, (), CLEAN, (), node.span)]
    for labels, inner in combinations:
        runs += _cell_runs(inner, node, pairs, labels)
    check_spelled(context, pairs, runs, metrics, node.report.span)
    check_circuits(context, runs, metrics, node.report.span)
    shown = tuple(
        _with_tokens(context, binding, axis, pairs, node.span)
        for binding, axis in zip(node.bindings, axes, strict=True)
    )
    return Measurement(node.name.text, pairs, tuple(runs), metrics, shown, node.span)


def _body(node: ast.Sweep) -> tuple[ast.Node, ...]:
    return node.body if isinstance(node.body, tuple) else (node.body,)


def _with_tokens(
    context: Context, binding: ast.Binding, axis: Axis, pairs: PairSet, span: Span
) -> Axis:
    """Give an axis over token indices the tokens that stand there, for the plot."""
    if not isinstance(binding.values, ast.Name) or binding.values.text != "positions":
        return axis
    return replace(axis, shown=_token_labels(pairs, context.tokens(span), len(axis.labels)))


def _token_labels(pairs: PairSet, tokens: Tokens, length: int) -> tuple[str, ...]:
    """For each token index, the tokens that the prompts have there: `2 iffel/osse`."""
    labels = []
    for index in range(length):
        prompts = [prompt for pair in pairs.pairs for prompt in (pair.base, pair.source)]
        pieces = list(
            dict.fromkeys(visible(tokens.piece(int(p.ids[index]))).strip() for p in prompts)
        )
        shown = "/".join(pieces[:2]) + ("/..." if len(pieces) > 2 else "")
        labels.append(f"{index} {shown}")
    return tuple(labels)


def _cell_runs(
    context: Context, node: ast.Sweep, pairs: PairSet, labels: tuple[str, ...]
) -> list[Run]:
    if isinstance(node.body, ast.Interventions):
        does, stages = in_force(context, node.body, pairs)
        label = what_it_does(context, node.body)
        return [Run(_cell(labels), does, label, labels, node.body.span, stages)]
    seen: dict[str, Span] = {}
    return [_run(context, arm, pairs, seen, labels) for arm in node.body]


def _cell(labels: tuple[str, ...]) -> str:
    return f"[{'.'.join(labels)}]" if labels else ""


def _run(
    context: Context,
    arm: ast.Arm,
    pairs: PairSet,
    seen: dict[str, Span],
    labels: tuple[str, ...] = (),
) -> Run:
    """An arm, of a sweep in the cell with these values of its variables."""
    name = arm.name.text
    if name == CLEAN:
        raise wrong(
            "reserved-name",
            "`clean` is the arm without any intervention",
            arm.name.span,
            "it is always there; choose another name",
        )
    if name in context.words.metrics:
        raise wrong(
            "reserved-name",
            f"`{name}` is a metric",
            arm.name.span,
            "choose another name for the arm",
        )
    new_name(arm.name, seen)
    does, stages = in_force(context, arm.interventions, pairs)
    label = what_it_does(context, arm.interventions)
    return Run(name + _cell(labels), does, label, labels, arm.span, stages)


def _metrics(context: Context, node: ast.Report, pairs: PairSet) -> tuple[str, ...]:
    text = context.shapes(node.span).text
    metrics = context.words.metrics.values()
    offered = [metric.word for metric in metrics if (metric.needs == "output") != text]
    for identifier in node.metrics:
        if identifier.text not in offered:
            context.scope.check_words()
            raise wrong(
                "unknown-metric",
                f"there is no metric `{identifier.text}` here",
                identifier.span,
                word_meant(identifier.text, offered, "metrics"),
            )
        context.scope.used.add(identifier.text)
        if context.words.metrics[identifier.text].of_source and not pairs.paired:
            raise wrong(
                "no-source",
                f"`{identifier.text}` compares with the sources, and `{pairs.name}` has only bases",
                identifier.span,
                "report logit_diff or fldd, or use pairs with a source",
            )
        if text:
            check_metrics(pairs, [context.words.metrics[identifier.text]], metrics, identifier.span)
    return tuple(dict.fromkeys(identifier.text for identifier in node.metrics))
