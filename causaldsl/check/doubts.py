"""Warnings about a program that is right: what is defined for nothing, done twice, or put together
though it differs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from causaldsl.check.circuits import circuit_of
from causaldsl.check.context import Context
from causaldsl.check.doubts_of_pairs import changes_of, warn_of_pairs
from causaldsl.check.hidden import warn_of_hidden
from causaldsl.check.interventions import site_of
from causaldsl.check.measurements import Measurement, Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place, Point
from causaldsl.check.prompts import PromptFamily, Template
from causaldsl.check.tabled import Table
from causaldsl.check.values import Applied, CheckedPath, CheckedTrace
from causaldsl.diagnostics import Label, Span
from causaldsl.model.catalog import ModelSpec
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import SIDES, Side
from causaldsl.vocabulary.numbers import Arithmetic, Compare, Result
from causaldsl.vocabulary.types import NumberType

_ALIKE = 0.8
"""Share of words that two templates have in common, in order, from which they count as alike."""
_WORDS = re.compile(r"\{\w+\}|\w+|[^\w\s]")


def warn_of_program(context: Context) -> None:
    """All warnings that need the whole program."""
    _warn_of_unused(context)
    for value in context.program.defined.values():
        if isinstance(value, PromptFamily):
            _warn_of_templates(context, value)
    _Repeats(context).warn()
    _Comparisons(context).warn()
    _warn_of_sites(context)
    warn_of_pairs(context)
    warn_of_hidden(context)


def warn_of_loops(
    context: Context, bindings: Iterable[ast.Binding], body: Iterable[ast.Node]
) -> None:
    """Warn of loop variables that nothing in the body names."""
    nodes = [node for part in body for node in part.walk()]
    for binding in bindings:
        name = binding.name.text
        if not any(_names(node, name) for node in nodes):
            context.warn(
                "unused-loop-variable",
                f"nothing in this loop depends on `{name}`, so its cells differ in name alone",
                binding.span,
                f"write `{name}` where it should matter, or take it out",
            )


def _names(node: ast.Node, name: str) -> bool:
    if isinstance(node, ast.Position):
        return name in [Point.parse(text).name for text in (node.first, node.last) if text]
    return isinstance(node, ast.Name | ast.Identifier) and node.text == name


def _warn_of_unused(context: Context) -> None:
    """Of names in the program's own file; a file of definitions alone is there to be imported."""
    program, scope = context.program, context.scope
    results = {name for name, value in program.defined.items() if _is_result(program, name, value)}
    if not (results or program.claims or program.outputs):
        return
    for name, span in scope.places.items():
        model = isinstance(program.defined[name], ModelSpec)
        if (
            name not in scope.used | results
            and span.source.name == program.source.name
            and not model
        ):
            param = name in program.params
            context.warn(
                "unused-definition",
                f"nothing uses `{name}`" + (f", so `--set {name}=..` changes nothing" * param),
                span,
                "use it, or take it out",
            )


def _is_result(program: Any, name: str, value: Any) -> bool:
    """Whether what a statement defines is something that the program wants to know."""
    number = isinstance(value, Applied) and isinstance(value.type, NumberType)
    return getattr(value, "compiled", False) or (number and name not in program.params)


def _warn_of_templates(context: Context, family: PromptFamily) -> None:
    train = family.of_role("train")
    for template in family.of_role("test"):
        alike = max(train, key=lambda other: _likeness(template, other), default=None)
        if alike is not None and _likeness(template, alike) >= _ALIKE:
            context.warn(
                "alike-templates",
                f"this test template of `{family.name}` is nearly a train template, so what is "
                "learned from that may not hold for other texts",
                template.span,
                "word it differently",
                [Label(alike.span, "the train template")],
            )


def _likeness(one: Template, other: Template) -> float:
    words, others = (_WORDS.findall(template.text.lower()) for template in (one, other))
    return SequenceMatcher(None, words, others, autojunk=False).ratio()


class _Repeats:
    """Arms and cells that do the same as another."""

    def __init__(self, context: Context):
        self.context = context
        self._known: dict[int, str] = {}
        self._tokens: dict[str, str] = {}

    def warn(self) -> None:
        program = self.context.program
        for measurement in program.measurements.values():
            if (
                program.undecided.keys()
                & self.context.scope.choices.get(measurement.name, {}).keys()
            ):
                continue  # what stands for members that a run chooses may do the same by chance
            arms: dict[str, tuple[Span, list[str]]] = {}
            for run in measurement.runs[1:]:
                arm = run.arm if run.coordinates else run.name
                does = [self._does(part, measurement.pairs) for part in run.interventions]
                key = str((does, self._universe(run, measurement)))
                arms.setdefault(arm, (run.span, []))[1].append(key)
            self._warn_of(measurement, arms)
        for table in program.tables.values():
            cells = {
                arm: (next(iter(by_cell.values())).span, [self._key(c) for c in by_cell.values()])
                for arm, by_cell in table.cells.items()
            }
            self._warn_of(table, cells)

    def _universe(self, run: Run, measurement: Measurement) -> tuple[str, int] | None:
        """What a circuit is over, where a metric compares it with nothing left of that."""
        known, circuit = self.context.words.metrics, circuit_of(run)
        if circuit is None or not any(known[metric].of_empty for metric in measurement.metrics):
            return None
        return circuit.over, circuit.universe

    def _warn_of(self, of: Measurement | Table, arms: dict[str, tuple[Span, list[str]]]) -> None:
        first: dict[tuple[str, ...], tuple[str, Span]] = {}
        for arm, (span, keys) in arms.items():
            other, there = first.setdefault(tuple(keys), (arm, span))
            if other != arm:
                self.context.warn(
                    "duplicate-arm",
                    f"the arms `{other}` and `{arm}` of `{of.name}` do the same",
                    span,
                    "change one, or take it out",
                    [Label(there, "the other one")],
                )
            repeats = len(keys) - len(set(keys))
            if repeats and self._depends(of):
                self.context.warn(
                    "duplicate-cell",
                    f"{repeats} of {len(keys)} cells of `{of.name}` do the same as another cell",
                    span,
                    "name every value once: two of them stand for one thing here",
                )

    def _depends(self, of: Measurement | Table) -> bool:
        """Whether every loop variable is used; that one is not has been said by then."""
        unused = [w for w in self.context.program.warnings if w.code == "unused-loop-variable"]
        return not any(of.span.holds(w.span) for w in unused)

    def _does(self, part: Applied | CheckedPath, pairs: PairSet) -> str:
        """Equal for what does the same to these pairs, whatever a position is called."""
        if isinstance(part, CheckedPath):
            return self._key(part)
        sides: list[Side] = [side for side in SIDES if side == "base" or side in part.word.sides]
        at = self._tokens_at(site_of(part), pairs, sides)
        return self._word(part, {"site": f"{site_of(part).site} {at}"})

    def _tokens_at(self, place: Place, pairs: PairSet, sides: list[Side]) -> str:
        """A digest of the tokens where a place is in all prompts of these sides."""
        assert place.position is not None
        known = f"{place.position} {pairs.digest} {sides}"
        if known not in self._tokens:
            prompts = [prompt for side in sides for prompt in pairs.side(side)]
            found = [place.position.resolve(prompt) for prompt in prompts]
            self._tokens[known] = hashlib.sha256(str(found).encode()).hexdigest()
        return self._tokens[known]

    def _word(self, applied: Applied, said: Mapping[str, str]) -> str:
        """A word with its options and operands, of which ``said`` gives some."""
        operands = [
            f"{name}: {said[name] if name in said else self._key(operand)}"
            for name, operand in applied.operands
        ]
        said_of_all = f"{applied.word.word} {applied.word.identity()} {operands}"
        # A digest: the text itself would double with everything that is used twice.
        return hashlib.sha256(said_of_all.encode()).hexdigest()

    def _key(self, value: Any) -> str:
        """Equal for values that come to the same operations."""
        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, tuple):
            key = f"({', '.join(map(self._key, value))})"
        elif isinstance(value, Applied):
            key = self._word(value, {})
        elif isinstance(value, CheckedPath):
            hops = [[str(place) for place in hop] for hop in value.hops]
            key = f"{self._key(value.changes)} {hops} {value.policy} {value.further}"
        elif isinstance(value, PairSet):
            key = value.digest
        else:
            key = getattr(value, "name", None) or str(value)
        self._known[id(value)] = key
        return key


class _Comparisons:
    """Claims and numbers that put together what is of different units, or of different pairs."""

    def __init__(self, context: Context):
        self.context = context
        self._units: dict[Applied, str | None] = {}

    def warn(self) -> None:
        program = self.context.program
        for claim in program.claims:
            self._unit(claim.condition)
        for value in program.named.values():
            self._unit(value)

    def _unit(self, applied: Applied) -> str | None:
        """The unit of a number, if it is known; warns where parts differ."""
        if applied not in self._units:
            self._units[applied] = self._found_unit(applied)
        return self._units[applied]

    def _found_unit(self, applied: Applied) -> str | None:
        word = applied.word
        if isinstance(word, Result):
            return str(self.context.words.metrics[word.metric].unit) or None
        parts = [part for part in _parts(applied) if part.number is None]
        units = {unit: part for part in parts if (unit := self._unit(part)) is not None}
        if isinstance(word, Compare | Arithmetic):
            self._check_pairs(applied, parts)
        if isinstance(word, Compare) or (isinstance(word, Arithmetic) and word.operator in "+-"):
            self._check_units(applied, list(units))
        scaled = not isinstance(word, Arithmetic) or word.operator in "+-" or len(parts) == 1
        inverse = (
            isinstance(word, Arithmetic)
            and word.operator == "/"
            and not (parts and parts[0] is applied.operand("left"))
        )
        kept = scaled and not inverse and isinstance(applied.type, NumberType)
        return next(iter(units)) if kept and len(units) == 1 else None

    def _check_units(self, applied: Applied, units: list[str]) -> None:
        if len(units) > 1:
            self.context.warn(
                "different-units",
                f"these numbers are of different units: {units[0]} and {units[1]}",
                applied.span,
                "compare numbers of one metric, or say what they have in common by dividing them",
            )

    def _check_pairs(self, applied: Applied, parts: list[Applied]) -> None:
        sets = [measured for part in parts if (measured := self._pairs(part))]
        if len(sets) == 2 and not sets[0].keys() & sets[1].keys():
            names = [next(iter(measured.values())) for measured in sets]
            self.context.warn(
                "different-pairs",
                f"one of these numbers is measured on {names[0]}, the other on {names[1]}",
                applied.span,
                "measure both on the same pairs: then what pairs have in common cancels",
            )

    def _pairs(self, applied: Applied) -> dict[str, str]:
        """The names of the pairs that a number is measured on, by what they are."""
        found = {}
        for part in applied.walk():
            for _, operand in part.operands:
                measured = isinstance(part.word, Result) and isinstance(operand, str)
                of = self.context.program.measurements[str(operand)] if measured else operand
                if isinstance(of, Measurement | CheckedTrace):
                    found[of.pairs.digest] = of.pairs.name
        return found


def _parts(applied: Applied) -> Iterator[Applied]:
    """The numbers that a word is applied to."""
    for _, value in applied.operands:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Applied) and isinstance(part.type, NumberType):
                yield part


def _warn_of_sites(context: Context) -> None:
    """Warn of directions that are used at another site than they were made at."""
    found: dict[tuple[Span, str], tuple[Span, list[Place]]] = {}
    for applied in _interventions(context):
        along = applied.operand("along")
        home = along.home if isinstance(along, Applied) else None
        place = site_of(applied)
        if home is not None and home.site != place.site:
            key = applied.span, str(home.site)
            found.setdefault(key, (applied.span, []))[1].append(place)
    for (_, home_site), (span, places) in found.items():
        sites = list(dict.fromkeys(str(place.site) for place in places))
        more = f" and {len(sites) - 1} other sites" if len(sites) > 1 else ""
        context.warn(
            "other-site",
            f"a direction that was made at {home_site} is used at {sites[0]}{more}",
            span,
            "coordinates mean something else there; make it where it is used",
        )


def _interventions(context: Context) -> Iterator[Applied]:
    program = context.program
    runs = [run for m in program.measurements.values() for run in m.runs]
    done = [part for run in runs for part in run.interventions]
    done += [part for trace in program.traces.values() for part in trace.interventions]
    done += [p for h in program.histograms.values() for arm in h.arms for p in arm.interventions]
    for part in done:
        yield from changes_of(part)
