"""What an editor shows of the place that one points at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from causaldsl.check.scope import BROKEN
from causaldsl.diagnostics import Span
from causaldsl.editor import words
from causaldsl.editor.document import Reading
from causaldsl.editor.values import lines_about, parts_of
from causaldsl.editor.verdicts import LastRun, verdict
from causaldsl.shown import visible
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.syntax.names import Mention
from causaldsl.vocabulary.sites import SITE_WORDS


@dataclass(frozen=True)
class Shown:
    """Markdown, and the place that it is about."""

    text: str
    span: Span


def hover(reading: Reading, offset: int, run: Callable[[], LastRun | None]) -> Shown | None:
    """What there is to say at an offset; of a claim, what the last ``run`` found of it."""
    nodes = reading.nodes(offset)
    mention = reading.mention(offset)
    shown = _of_name(reading, mention) if mention is not None else _of_word(reading, nodes, offset)
    claim = _claim(nodes)
    if claim is None:
        return shown
    said = visible(verdict(claim[0], run()))
    return Shown(f"{shown.text}\n\n---\n{said}", shown.span) if shown else Shown(said, claim[1])


def _claim(nodes: Sequence[ast.Node]) -> tuple[str, Span] | None:
    """The claim around a place: its text as the results have it, and where it stands."""
    if not nodes or not isinstance(nodes[0], ast.Expect):
        return None
    statement = nodes[0]
    condition = statement.condition
    parts = condition.parts if isinstance(condition, ast.Conjunction) else (condition,)
    around = [part for part in parts if part in nodes] or list(parts[:1])
    tail = (f" over {statement.over}" if statement.over else "") + (
        f" at {statement.level.text}" if statement.level else ""
    )
    return show(around[0]) + tail, around[0].span


def _of_name(reading: Reading, mention: Mention) -> Shown:
    symbol, names = mention.symbol, reading.names
    if symbol.kind == "definition":
        value = names.get(symbol.text, BROKEN)
        lines = ["not known: something is wrong with it"]
        if value is not BROKEN:
            lines = lines_about(value, reading.shapes)
    elif symbol.kind == "arm":
        parts = parts_of(names.get(symbol.owner))
        lines = [f"{parts.get(symbol.text, 'an arm')} of `{symbol.owner}`", *_run_of(names, symbol)]
    else:
        what = {
            "variable": "a loop variable", "position": "a named position", "slot": "a slot",
            "source": "a source of pairs",
        }  # fmt: skip
        of = f" of `{symbol.owner}`" if symbol.owner else ""
        lines = [f"{what[symbol.kind]}{of}", *_written(reading, mention)]
    body = "\n\n".join(line for line in lines if line)
    return Shown(f"**{symbol.text}**: {body}", mention.span)


def _run_of(names: Any, symbol: Any) -> list[str]:
    runs = getattr(names.get(symbol.owner), "runs", ())
    return [f"`{run.label}`" for run in runs if run.arm == symbol.text][:1]


def _written(reading: Reading, mention: Mention) -> list[str]:
    """Where a name is given something, as it stands there."""
    for other in reading.of(mention.symbol):
        if other.defines:
            at = reading.pieces.offset(other.span) or 0
            around = [n for n in reading.nodes(at) if n.span.start == other.span.start]
            holders = (ast.Binding, ast.PositionDefinition)
            return [f"`{n.span.text}`" for n in around if isinstance(n, holders)][:1]
    return []


def _of_word(reading: Reading, nodes: Sequence[ast.Node], offset: int) -> Shown | None:
    if not nodes:
        return None
    at = offset - (reading.pieces.offset(nodes[0].span) or 0) + nodes[0].span.start
    word = _word_at(nodes[0].span, at)
    text = None
    for span, said in _candidates(nodes, word, reading):
        if said and span is not None and span.start <= at <= span.end:
            text, word = said, span
            break
    return Shown(text, word) if text and word is not None else None


def _candidates(
    nodes: Sequence[ast.Node], word: Span | None, reading: Reading
) -> Iterator[tuple[Span | None, str | None]]:
    known, names, shapes = reading.words, reading.names, reading.shapes
    inner, outer = nodes[-1], nodes[-2] if len(nodes) > 1 else nodes[-1]
    classes = words.classes(known)
    if word is not None and word.start == nodes[0].span.start:
        yield word, words.statement(word.text)
    if isinstance(inner, ast.Identifier) and isinstance(outer, ast.Attribute):
        owner = outer.owner
        while isinstance(owner, ast.Index | ast.Call | ast.Attribute):
            owner = owner.function if isinstance(owner, ast.Call) else owner.owner
        if isinstance(owner, ast.Name):
            part = parts_of(names.get(owner.text)).get(inner.text)
            yield inner.span, f"{part} of `{owner.text}`" if part else None
            site = f"{owner.text.removesuffix('s')}.{inner.text}"
            yield (inner.span, words.site(site, shapes)) if site in SITE_WORDS else (None, None)
        yield inner.span, words.explain(inner.text, known, shapes)
    if isinstance(inner, ast.Identifier) and isinstance(outer, ast.Option):
        call = next((n for n in reversed(nodes) if isinstance(n, ast.Call)), None)
        cls = classes.get(show(call.function)) if call is not None else None
        yield inner.span, words.option(cls, inner.text) if cls is not None else None
    clause = next((n for n in reversed(nodes) if isinstance(n, ast.Clause)), None)
    verb = next((n for n in reversed(nodes) if isinstance(n, ast.Intervention)), None)
    if clause is not None and verb is not None and word is not None:
        cls = classes.get(verb.verb.text)
        first = Span(clause.span.source, clause.span.start, clause.span.start + len(clause.word))
        yield first, words.option(cls, clause.word) if cls is not None else None
    if isinstance(inner, ast.Name | ast.Identifier):
        yield inner.span, words.explain(inner.text, known, shapes)


def _word_at(within: Span, at: int) -> Span | None:
    """The word of a statement's text around a place."""
    text = within.source.text
    start = end = at
    while start > within.start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while end < within.end and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return Span(within.source, start, end) if start < end else None
