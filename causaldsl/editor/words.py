"""The words of the language, as an editor explains them: signature, meaning, options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from causaldsl.check.sets import RANGE_WORDS
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax.grammar import statement_words
from causaldsl.vocabulary.audits import Illusion
from causaldsl.vocabulary.base import Change, Word
from causaldsl.vocabulary.generation import TEXT_METRICS
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.register import Vocabulary
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.statements import STATEMENTS
from causaldsl.vocabulary.warnings import WARNINGS

OWNERS = {"head": "One head of a layer.", "kv_head": "One key-value head of a layer."}
SETS = dict.fromkeys(RANGE_WORDS, "All of the model's; brackets pick layers: `[7..9]`.")
_INDEX = {"none": "", "layer": "[LAYER]", "head": "[LAYER.HEAD]", "kv_head": "[LAYER.HEAD]"}


def code(text: str) -> str:
    """A block of program text, in Markdown."""
    return f"```cpatch\n{text}\n```"


def doc_of(cls: type) -> str:
    """A word's entry in the reference."""
    return inspect.cleandoc(cls.__doc__ or "").replace("``", "`")


def classes(words: Vocabulary) -> dict[str, type[Word]]:
    """Every word that is applied to operands, by its spelling."""
    makers: dict[str, type[Word]] = dict(words.makers)
    return {Illusion.word: Illusion} | makers | words.functions | words.interventions


def explain(text: str, words: Vocabulary, shapes: ModelDims | None) -> str | None:
    """A word of the language, in Markdown: how it is written, what it says, how wide it is."""
    known = classes(words)
    if text in known:
        return f"{code(known[text].signature())}\n{doc_of(known[text])}"
    if text in SITE_WORDS:
        return site(text, shapes)
    if text in MATRIX_WORDS:
        matrix = MATRIX_WORDS[text]
        sizes = f"from {matrix.inputs} to {matrix.outputs}"
        return f"{code(text + _INDEX[matrix.index])}\n{matrix.doc}\n\n{sizes}"
    if text in words.metrics:
        metric = words.metrics[text]
        return f"{code('report ' + text)}\n{metric.doc}" + (
            f"\n\nin {metric.unit}" * bool(metric.unit)
        )
    if text in TEXT_METRICS:
        return f"{code('report ' + TEXT_METRICS[text].form())}\n{doc_of(TEXT_METRICS[text])}"
    plain = OWNERS | SETS | WARNINGS
    return f"{code(text)}\n{plain[text]}" if text in plain else None


def site(word: str, shapes: ModelDims | None) -> str:
    """A site's entry, with its width in this model."""
    found = SITE_WORDS[word]
    owner, dot, part = word.partition(".")
    width = found.width
    number = getattr(shapes, width, None) if shapes is not None and shapes.text and width else None
    wide = f"\n\n{width}{f' = {number}' if number is not None else ''} dimensions" if width else ""
    return f"{code(owner + _INDEX[found.index] + dot + part)}\n{found.doc}{wide}"


def statement(word: str) -> str | None:
    """How the statements that begin with a word are written, and what they say."""
    found = [s for s in STATEMENTS.values() if s.form.split()[0] == word]
    if word not in statement_words().values() or not found:
        return None
    return "\n\n".join(f"{code(s.form)}\n{s.doc}" for s in found)


def option(cls: type[Word], name: str) -> str | None:
    """What an option or operand that is written by its name takes."""
    separator = " " if issubclass(cls, Change) else ": "
    for operand in cls.operands:
        if operand.name == name:
            needed = "" if operand.required else ", may be left out"
            form = code(f"{name}{separator}{operand.kind}")
            return f"{form}\nof `{cls.word}`: {operand.kind}{needed}"
    if name not in cls.options():
        return None
    field = cls.model_fields[name]
    kind = " | ".join(choices(cls, name)) or _spelled(field.annotation)
    default = "must be given" if field.is_required() else f"{field.default} if left out"
    more = "".join(f"; {bound}" for bound in map(str, field.metadata))
    return f"{code(f'{name}{separator}{kind}')}\noption of `{cls.word}`: {default}{more}"


def choices(cls: type[Word], name: str) -> list[str]:
    """The words that an option can be, if it is one of several."""
    field = cls.model_fields.get(name)
    return list(_literals(field.annotation)) if field is not None else []


def _literals(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from (str(one) for one in get_args(kind) if isinstance(one, str))
    else:
        for part in get_args(kind):
            yield from _literals(part)


def _spelled(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind).replace("typing.", "").replace(
        " | None", ""
    )
