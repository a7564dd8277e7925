"""`generate`: texts that the model writes behind prompts, with interventions in force or none."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from causaldsl.check.context import Context, checks
from causaldsl.check.generated import Generation
from causaldsl.check.in_force import plain, what_it_does
from causaldsl.check.interventions import site_of
from causaldsl.check.loops import new_name
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.runs import Origin
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Diagnostics, Span, located, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.generation import TEXT, TEXT_METRICS, GenerateWord, TextMetric
from causaldsl.vocabulary.interventions import Ablate, Steer
from causaldsl.vocabulary.types import NumberType

_BASE = "base"
_NUMBERS = "length, share_with([..]) or count([..])"


@checks(ast.Generate, experiment=True)
def generate(context: Context, node: ast.Generate) -> Generation:
    """Every arm under its name; `base` is the model as it is."""
    pairs = context.pair_set(node.pairs, answers=False)
    context.tokens(node.pairs.span)  # a toy model writes nothing
    problems = Diagnostics()
    runs: list[Run] = []
    seen: dict[str, Span] = {}
    for arm in node.arms:
        with problems.collecting():
            runs.append(_run(context, arm, pairs, seen))
    found: list[Any] = []
    for part in (_how, _reported):
        with problems.collecting():
            found.append(part(context, node, pairs))
    problems.raise_if_any()
    how, (metrics, shows) = found
    return Generation(node.name.text, pairs, tuple(runs), how, metrics, shows, node.span)


def _run(context: Context, arm: ast.Arm, pairs: PairSet, seen: dict[str, Span]) -> Run:
    name, does = arm.name, arm.interventions
    if name.text in TEXT_METRICS:
        message = f"`{name.text}` is a metric of texts"
        raise wrong("reserved-name", message, name.span, "choose another name for the arm")
    new_name(name, seen)
    first, *more = does.parts
    if not more and isinstance(first, ast.Name) and first.text == _BASE:
        return Run(name.text, (), _BASE, (), arm.span)
    message = "a path has no meaning at tokens that are still to be written"
    found = plain(context, does, pairs, "path-here", message)
    for applied in found.does:
        assert isinstance(applied, Applied)
        _check_sources(applied, pairs, does.span)
        _check_everywhere(applied, does.span)
    label = what_it_does(context, does)
    return Run(name.text, found.does, label, (), arm.span, found.stages)


def _check_sources(applied: Applied, pairs: PairSet, span: Span) -> None:
    """Prompts of a corpus have no sources."""
    origin = applied.operand("from")
    of_source = isinstance(origin, Origin) and origin.run is None and origin.of is None
    takes = "source" in applied.word.sides or (of_source and origin.side != "base")  # type: ignore[union-attr]
    if takes and not pairs.paired:
        raise wrong(
            "no-source",
            f"`{applied.word.word}` takes activations of sources, and `{pairs.name}` has none",
            span,
            "steer and ablate need none; write on pairs to take values from their sources",
        )


def _check_everywhere(applied: Applied, span: Span) -> None:
    """At tokens that are not there yet only what needs no value of theirs can be done."""
    place, word = site_of(applied), applied.word
    assert place.position is not None
    if not place.position.whole:
        return
    dictionary = place.site.dictionary
    if dictionary is not None and place.site.read != place.site.written:
        raise wrong(
            "not-written-yet",
            "a change of a transcoder's features is worked out from the clean prompt, which has "
            f"none of the tokens that are to be written, and {place} is all of them",
            span,
            f"steer {place.site.written} @ all along feature({dictionary.name}, 12); or name "
            "positions of the prompt, such as `@ END`",
        )
    to_zero = isinstance(word, Ablate) and word.to == "zero"
    beside = place.site.is_virtual and dictionary is None
    if not (isinstance(word, Steer) or to_zero) or beside:
        raise wrong(
            "not-written-yet",
            f"`{word.word}` takes values from the prompts, which have none for the tokens that "
            f"are to be written, and {place} is all of them",
            span,
            "steer, or ablate to zero (along a direction), acts `@ all`; name positions of the "
            "prompt, such as `@ END`, for anything else",
        )


def _how(context: Context, node: ast.Generate, pairs: PairSet) -> GenerateWord:
    """How the model writes."""
    options: dict[str, float] = {}
    written_as: list[tuple[str, ast.NewTokens | ast.Sampling]] = [("tokens", node.tokens)]
    written_as += [(one.name, one) for one in node.sampling]
    for name, part in written_as:
        if name in options:
            raise wrong("option-twice", f"`{name}` is given twice", part.span, "leave out one")
        written = (ast.Number if part.value[0].isdigit() else ast.Name)(part.span, part.value)
        number = context.of_type(written, NumberType, "a number").number
        if number is None:
            message = f"`{part.value}` is not known before the run"
            raise wrong("not-constant", message, part.span, "write a number, or a param")
        options[name] = int(number) if number == int(number) else number
        try:
            GenerateWord.model_validate({"tokens": 1, **options})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].replace("Input should be", "it should be")
            raise wrong(
                "bad-option", f"`{name}` can't be {part.value}", part.span, reason
            ) from None
    with located(node.span):
        ends = tuple(sorted(context.tokens(node.pairs.span).ends))
    how = GenerateWord.model_validate({**options, "ends": ends})
    unused = [one for one in node.sampling if one.name in ("top_k", "top_p")]
    if how.temperature == 0 and unused:
        message = f"at temperature 0 nothing is drawn, so `{unused[0].name}` has no meaning"
        raise wrong("bad-option", message, unused[0].span, "write `temperature 1` before it")
    longest, n_ctx = max(p.length for p in pairs.side("base")), context.shapes(node.span).n_ctx
    if longest + how.tokens > n_ctx:
        raise wrong(
            "too-long",
            f"a prompt of {longest} tokens and {how.tokens} new ones are more than the "
            f"{n_ctx} that {context.shapes(node.span).name} reads",
            node.tokens.span,
            f"ask for at most {max(0, n_ctx - longest)}",
        )
    return how


def _reported(
    context: Context, node: ast.Generate, pairs: PairSet
) -> tuple[tuple[tuple[str, TextMetric], ...], bool]:
    """The metrics by their names, and whether the texts are shown."""
    metrics: dict[str, TextMetric] = {}
    shows = False
    for item in node.report.metrics:
        if item.name is None and isinstance(item.metric, ast.Name) and item.metric.text == TEXT:
            shows = True
            continue
        metric = _metric(context, item.metric)
        name = item.name.text if item.name is not None else metric.word
        if name in metrics or name == TEXT:
            span = item.name.span if item.name is not None else item.metric.span
            message = f"`{name}` is reported twice" if name in metrics else f"`{TEXT}` is a text"
            way = f"give it a name of its own: other = {show(item.metric)}"
            raise wrong("name-twice", message, span, way)
        metrics[name] = metric
    return tuple(metrics.items()), shows


def _metric(context: Context, node: ast.Expression) -> TextMetric:
    call = node.function if isinstance(node, ast.Call) else node
    cls = TEXT_METRICS.get(call.text) if isinstance(call, ast.Name) else None
    if cls is None:
        raise wrong(
            "unknown-metric",
            f"there is no metric `{show(call)}` of texts",
            call.span,
            suggest(show(call), [TEXT, *TEXT_METRICS], "metrics of texts"),
        )
    arguments = node.arguments if isinstance(node, ast.Call) else ()
    if not cls.listed and not isinstance(node, ast.Call):
        return cls()
    words = [context.value(a) for a in arguments if not isinstance(a, ast.Option)]
    value = words[0] if len(words) == len(arguments) == 1 else ()
    texts = value if isinstance(value, tuple) else (value,)
    good = texts and all(isinstance(word, str) and word.strip() for word in texts)
    if not cls.listed or not good:
        message = f"`{show(node)}` is not how `{cls.word}` is written"
        raise wrong("bad-metric", message, node.span, f"write {cls.form()}")
    return cls(of=tuple(map(str, texts)))
