"""What is offered at each kind of place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.check.generated import Generation
from causaldsl.check.kinds import Value, describe
from causaldsl.check.measurements import Measurement
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.prompts import Lexicon, PromptFamily
from causaldsl.check.scope import BROKEN
from causaldsl.check.sets import Members
from causaldsl.check.statements.model import MODEL_OPTIONS
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.editor import words
from causaldsl.editor.here import (
    Here,
    Item,
    clause_words,
)
from causaldsl.editor.values import lines_about, parts_of, sources_of
from causaldsl.model.catalog import ModelSpec, catalog
from causaldsl.model.dtypes import DTYPES
from causaldsl.syntax import grammar
from causaldsl.vocabulary.attributions import ATTRIBUTED
from causaldsl.vocabulary.expressed import OF_ANSWERS, READS
from causaldsl.vocabulary.generation import TEXT, TEXT_METRICS
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.traces import POLICIES
from causaldsl.vocabulary.types import DataType, SubspaceType
from causaldsl.vocabulary.warnings import WARNINGS


def in_text(here: Here, typed: str) -> Iterator[Item]:
    """Models and files, which are written in quotes."""
    folder = here.reading.path.parent
    if here.statement == "model" and here.back() == "=":
        for entry in catalog():
            yield Item(entry.name, "value", entry.about, entry.size)
    elif here.statement == "import":
        yield from _files(folder, typed, (".cpatch",), here.reading.path)
    elif here.call is not None:
        yield from _files(folder, typed, (), here.reading.path)


def _files(folder: Path, typed: str, endings: tuple[str, ...], own: Path) -> Iterator[Item]:
    inside = folder / typed.rpartition("/")[0]
    before = typed.rpartition("/")[0] + "/" if "/" in typed else ""
    try:
        found = sorted(inside.iterdir())
    except OSError:
        return
    for path in found[:500]:
        if path.name.startswith(".") or path == own:
            continue
        if path.is_dir():
            yield Item(f"{before}{path.name}/", "file", "a folder")
        elif not endings or path.suffix in endings:
            yield Item(before + path.name, "file")


def behind_dot(here: Here) -> Iterator[Item]:
    chain: list[str] = []
    number = len(here.tokens) - 2
    while number >= 0:
        token = here.tokens[number]
        if token == "]":
            depth = 1
            while number > 0 and depth:
                number -= 1
                depth += {"]": 1, "[": -1}.get(str(here.tokens[number]), 0)
            chain.insert(0, "[]")
        else:
            chain.insert(0, str(token))
            if number == 0 or here.tokens[number - 1] != ".":
                break
            number -= 1
        number -= 1
    yield from _parts(here, chain)


def _parts(here: Here, chain: list[str]) -> Iterator[Item]:
    if not chain:
        return
    owner, rest = chain[0], [part for part in chain[1:] if part != "[]"]
    value = here.names.get(owner)
    kind = value.of if isinstance(value, Members) else owner
    if kind.removesuffix("s") in words.OWNERS:
        word = kind.removesuffix("s")
        for site, row in SITE_WORDS.items():
            if site.startswith(word + ".") and not rest:
                yield Item(site.partition(".")[2], "site", row.doc)
        return
    offered = parts_of(value)
    if isinstance(value, Measurement) and (rest or "[]" in chain):
        offered = dict.fromkeys(value.metrics, "a metric")
    elif isinstance(value, PairFamily) and rest:
        offered = parts_of(value.parts.get(rest[0]))
    elif isinstance(value, Generation) and rest:
        offered = dict.fromkeys(dict(value.metrics), "a metric")
    for name, detail in offered.items():
        yield Item(name, "metric" if detail == "a metric" else "name", detail)


def positions(here: Here) -> Iterator[Item]:
    symbols = {m.symbol for m in here.reading.mentions if m.symbol.kind == "position"}
    sets: dict[str, Any] = {"END": 0, "all": 0} | {s.text: 0 for s in symbols}
    for value in here.names.values():
        if isinstance(value, PairFamily | PairSet):
            parts = list(value.parts.values()) if isinstance(value, PairFamily) else [value]
            parts += [value.whole] if isinstance(value, PairFamily) and value.whole else []
            sets |= {n: 0 for part in parts if part.pairs for n, _ in part.pairs[0].base.positions}
    about = {"END": "the last token", "all": "every token"}
    for name in sets:
        yield Item(name, "position", about.get(name, "a named position"))
    for name, value in here.names.items():
        if isinstance(value, Members) and value.of == "positions":
            yield Item(name, "name", value.kind)
    yield from _variables(here)


def _variables(here: Here) -> Iterator[Item]:
    """The loop variables of the statement that one is in."""
    for before, token, behind in zip(here.tokens, here.tokens[1:], here.tokens[2:], strict=False):
        if str(before) in ("for", ",") and str(behind) == "in":
            yield Item(str(token), "name", "a loop variable")


def metrics(here: Here) -> Iterator[Item]:
    for name, metric in here.words.metrics.items():
        if here.shapes is None or (metric.needs == "output") != here.shapes.text:
            yield Item(name, "metric", metric.unit, metric.doc)


def text_metrics(here: Here) -> Iterator[Item]:
    yield Item(TEXT, "metric", "the texts themselves")
    for name, cls in TEXT_METRICS.items():
        insert = f"{name}([" if cls.listed else None
        yield Item(name, "metric", cls.unit, words.doc_of(cls), insert)


def warnings(here: Here) -> Iterator[Item]:
    for name, doc in WARNINGS.items():
        yield Item(name, "value", "a warning", doc)


def options(here: Here) -> Iterator[Item]:
    """Options of the word in whose brackets one is, then what its operands can be."""
    cls = here.call
    assert cls is not None
    since = here.tokens[here.open[-1] :]
    given = {str(a) for a, b in pairwise(since) if b == ":"}
    keywords = [operand.name for operand in cls.operands if operand.keyword]
    for name in [*keywords, *cls.options()]:
        if name not in given:
            yield Item(name, "option", f"of {cls.word}", words.option(cls, name) or "", f"{name}: ")
    yield from _expression(here)


def option_value(here: Here) -> Iterator[Item]:
    cls = here.call
    assert cls is not None
    name = here.back(2)
    for choice in words.choices(cls, name):
        yield Item(choice, "value", f"{name} of {cls.word}")
    kinds = {operand.name: operand.kind for operand in cls.operands}
    if kinds.get(name) in ("pairs", "prompts"):
        yield from pairs(here)
    elif not words.choices(cls, name):
        yield from _expression(here)


def pairs(here: Here) -> Iterator[Item]:
    for name, value in here.names.items():
        if isinstance(value, PairFamily):
            for part, pairs in value.parts.items():
                yield Item(f"{name}.{part}", "name", f"{len(pairs)} pairs")
        if isinstance(value, PairFamily | PairSet):
            yield Item(name, "name", lines_about(value, here.shapes)[0])


def clauses(here: Here) -> Iterator[Item]:
    verb = here.verb
    assert verb is not None
    for name in clause_words(verb):
        doc = words.option(verb, name) or ""
        yield Item(name, "option", f"of {verb.word}", doc, f"{name} ")
    yield from _keywords(here)
    if "AT" in here.fits:
        yield Item("@", "keyword", "at a position")


def clause_value(here: Here) -> Iterator[Item]:
    verb, name = here.verb, here.back()
    assert verb is not None
    for choice in words.choices(verb, name):
        yield Item(choice, "value", f"{name} of {verb.word}")
    kinds = {operand.name: operand.kind for operand in verb.operands}
    if kinds.get(name) == "subspace":
        yield from (i for i in _names(here) if _is_subspace(here.names.get(i.label)))
    elif name == "from":
        yield from (Item(word, "value") for word in ("base", "source", "mean"))
        named = sources_of(here.names.values())
        yield from (Item(name, "value", what) for name, what in named.items())
        yield from _names(here)
    elif not words.choices(verb, name):
        yield from _expression(here)


def _is_subspace(value: Any) -> bool:
    return isinstance(value, Applied) and isinstance(value.type, SubspaceType)


def model_options(here: Here) -> Iterator[Item]:
    values = {"bos": ("yes", "no"), "dtype": DTYPES}.get(here.back())
    for name in values or MODEL_OPTIONS:
        yield Item(str(name), "value" if values else "option")


def policy(here: Here) -> Iterator[Item]:
    for name in POLICIES.get(here.back(), POLICIES):
        yield Item(name, "value" if here.back() in POLICIES else "option")


def interventions(here: Here) -> Iterator[Item]:
    for name, cls in here.words.interventions.items():
        yield Item(name, "function", cls.signature(), words.doc_of(cls), f"{name} ")
    for name, value in here.names.items():
        if isinstance(value, CheckedPath):
            yield Item(name, "name", "a path")
    if here.statement == "path":
        yield from sites(here)
    if here.statement == "generate":
        yield Item("base", "value", "the model as it is")


def _expression(here: Here) -> Iterator[Item]:
    if here.statement == "metric":
        yield from (Item(name, "function", "of one token", insert=f"{name}(") for name in READS)
        yield from (Item(name, "value", "of each pair") for name in OF_ANSWERS)
    yield from _variables(here)
    yield from _names(here)
    for site, row in SITE_WORDS.items():
        if "." not in site:
            index = "[" if row.index != "none" else ""
            yield Item(site, "site", row.doc, words.site(site, here.shapes), f"{site}{index}")
    for name, doc in words.OWNERS.items():
        yield Item(name, "site", doc, insert=f"{name}[")
    for name, doc in words.SETS.items():
        yield Item(name, "site", doc)
    for name, matrix in MATRIX_WORDS.items():
        yield Item(name, "site", matrix.doc)
    for name, cls in words.classes(here.words).items():
        if name not in here.words.interventions:
            yield Item(name, "function", cls.signature(), words.doc_of(cls), f"{name}(")


def _names(here: Here) -> Iterator[Item]:
    for name, value in here.names.items():
        if value is not BROKEN and not isinstance(value, ModelSpec | Lexicon | PromptFamily):
            about = lines_about(value, here.shapes)
            yield Item(name, "name", about[0] if about else describe(value), "\n\n".join(about))


_ARE_SITES = (Place, Members, CheckedDictionary, type(None))


def sites(here: Here) -> Iterator[Item]:
    """What can stand behind a verb."""
    for item in _expression(here):
        value = here.names.get(item.label)
        if item.what == "site" or (item.what == "name" and isinstance(value, _ARE_SITES)):
            yield item


def attributed(here: Here) -> Iterator[Item]:
    for name in ATTRIBUTED:
        yield Item(name, "metric", doc=here.words.metrics[name].doc)


def _keywords(here: Here) -> Iterator[Item]:
    begins = grammar.statement_words()
    known: dict[str, list[str]] = {
        n: [t] for n, t in grammar.fixed_texts().items()
    } | grammar.words()
    for terminal in sorted(here.fits):
        for word in known.get(terminal, ()):
            if word.isidentifier():
                doc = words.statement(word) if terminal in begins else ""
                yield Item(word, "keyword", doc=doc or "", insert=f"{word} ")


def anything(here: Here) -> Iterator[Item]:
    yield from _keywords(here)
    if "NUMBER" in here.fits:
        yield from _expression(here)


_OF_FILES = ("lexicon", "prompts", "pairs", "dictionary")


def data(here: Here) -> Iterator[Item]:
    """What can stand behind `lexicon NAME =`, `prompts NAME =` and `pairs NAME =`."""
    for name, cls in here.words.makers.items():
        if isinstance(cls.gives, DataType) and str(cls.gives) == here.statement:
            yield Item(name, "function", cls.signature(), words.doc_of(cls), f"{name}(")
    if here.statement == "pairs":
        for name, value in here.names.items():
            if describe(value) in ("a prompts block", "prompts"):
                yield Item(name, "name", describe(value))


def drawn(here: Here) -> Iterator[Item]:
    """What `plot` or `render` draws."""
    for name, value in here.names.items():
        plots = here.statement == "plot"
        if isinstance(value, Value) and (value.can_plot if plots else value.can_render):
            yield Item(name, "name", value.kind)


def along(here: Here) -> Iterator[Item]:
    """The loop variables of what `plot` draws."""
    plots = [number for number, token in enumerate(here.tokens[:-1]) if token == "plot"]
    value = here.names.get(str(here.tokens[plots[-1] + 1])) if plots else None
    for name in value.loop_variables if isinstance(value, Value) else ():
        yield Item(name, "name", "a loop variable")
