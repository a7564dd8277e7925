"""From a checked program to the graph of everything that it measures, defines and claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.circuits import CheckedCircuit
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.runs import Origin
from causaldsl.check.values import Applied, CheckedPath, ClassName
from causaldsl.diagnostics import Span
from causaldsl.discovery import import_all, into
from causaldsl.graph.graph import Graph, Made
from causaldsl.graph.operations import (
    ChoiceWord,
    CleanRunWord,
    HopWord,
    Input,
    Operation,
    PatchedRunWord,
    SiteAt,
    pairs_operation,
)
from causaldsl.vocabulary.base import SIDES, Change, Word
from causaldsl.vocabulary.seen import MeanSeen, Seen, SeenElsewhere

Value = TypeVar("Value")
Rule = Callable[["Compiler", Value], Made]
_RULES: dict[type, Rule[Any]] = {}


def compiles(kind: type[Value]) -> Callable[[Rule[Value]], Rule[Value]]:
    """Register what definitions of this kind compile to."""
    return into(_RULES, kind)


def compile_program(program: CheckedProgram) -> Graph:
    """The graph of everything that the program measures, defines and claims."""
    import_all("causaldsl.graph.statements")
    compiler = Compiler(program)
    for name, value in program.definitions():
        compiler.make(name, value)
    for choice in program.undecided:
        sweep = Input(role="measure", key=compiler.graph.key_of(choice.sweep))
        word = ChoiceWord(metric=choice.metric, cells=choice.cells, count=choice.count)
        key = compiler.add(word, [sweep], None)
        compiler.graph.made[str(choice)] = Made("choice", key)
    return compiler.graph


class Compiler:
    """Puts operations into a graph, each with all that it takes."""

    def __init__(self, program: CheckedProgram):
        self.graph = Graph(vocabulary=program.words)
        self.program = program
        self.model = program.model.shapes.fingerprint if program.model else ""
        self._keys: dict[Applied, str] = {}
        """What has been compiled: a value that many others are made from is, once."""

    def make(self, name: str, value: Any) -> Made:
        """A definition of the program, under its name; once, when first needed."""
        if name not in self.graph.made:
            made = self.graph.made[name] = _RULES[type(value)](self, value)
            if made.is_named:
                self.graph.called.setdefault(made.key, name)
        return self.graph.made[name]

    def add(self, word: Word, inputs: Iterable[Input], span: Span | None, **where: Any) -> str:
        """The key of an operation of this word; ``where`` are its places and classes."""
        operation = Operation(word=word, inputs=tuple(inputs), model=self.model, **where)
        return self.graph.add(operation, span)

    def applied(self, applied: Applied) -> str:
        """A word with its operands: one operation, after those it is applied to."""
        if applied not in self._keys:
            self._keys[applied] = self._applied(applied)
        return self._keys[applied]

    def _applied(self, applied: Applied) -> str:
        at: SiteAt | None = None
        to: list[SiteAt] = []
        classes: list[str] = []
        inputs: list[Input] = []
        for role, value in applied.operands:
            if isinstance(value, Place):
                if role == "site":
                    at = site_at(value)
                else:
                    to.append(site_at(value))
            elif isinstance(value, ClassName):
                classes.append(value.text)
            elif isinstance(value, PairSet):
                # Prompts without answers have only one side.
                sides = applied.word.sides if value.paired else ("base",)
                inputs += [Input(role=side, key=self.clean_run(value, side)) for side in sides]
            else:
                parts = value if isinstance(value, tuple) else (value,)
                inputs += [Input(role=role, key=self.operand(part)) for part in parts]
        places = {"at": at, "to": tuple(to), "classes": tuple(classes)}
        known = len(self.graph.network)
        key = self.add(applied.word, inputs, applied.span, **places)
        self.graph.types[key] = applied.type
        if applied.word.learned and len(self.graph.network) > known:
            self.make(f"fit of {key}", Fit(key, applied))
        return key

    def operand(self, value: Any) -> str:
        """The operation of a value that a word is applied to."""
        if isinstance(value, Applied):
            return self.applied(value)
        if isinstance(value, str):
            value = self.program.measurements[value]
        return self.make(value.name, value).key

    def pair_set(self, pairs: PairSet) -> str:
        key = self.graph.add(pairs_operation(pairs, self.model))
        self.graph.pairs.setdefault(key, pairs)
        self.graph.made.setdefault(pairs.name, Made("pairs", key))
        self.graph.called.setdefault(key, pairs.name)
        return key

    def clean_run(self, pairs: PairSet, side: str) -> str:
        return self.add(
            CleanRunWord(side=side), [Input(role="pairs", key=self.pair_set(pairs))], None
        )

    def run(self, run: Run, pairs: PairSet) -> str:
        """One arm: the base run, and the interventions that are in force at once."""
        base = self.clean_run(pairs, "base")
        if not run.interventions:
            return base
        word = PatchedRunWord(stages=run.stages)
        do: list[Input] = []
        for part in run.interventions:
            if isinstance(part, CheckedCircuit):
                if not part.changes:  # all of the model is in it
                    return base
                word = PatchedRunWord(edges=part.further, circuit=True)
                do += self.does(part.changes, pairs)
            elif isinstance(part, CheckedPath) and part.direct:
                word = PatchedRunWord.model_validate(part.policy)
                do += self.does(part.sender, pairs)
            elif isinstance(part, CheckedPath):
                do.append(Input(role="do", key=self.path(part, pairs, base)))
            else:
                do += self.does((part,), pairs)
        return self.add(word, [Input(role="base", key=base), *do], run.span)

    def does(self, interventions: Iterable[Applied], pairs: PairSet) -> list[Input]:
        return [Input(role="do", key=self.intervention(i, pairs)) for i in interventions]

    def path(self, path: CheckedPath, pairs: PairSet, base: str) -> str:
        """The last hop of a path with receivers; every hop starts from the one before it."""
        do, last = self.does(path.sender, pairs), ""
        for receivers in path.hops:
            word = HopWord.model_validate(path.policy)
            inputs = [Input(role="base", key=base), *do]
            last = self.add(word, inputs, path.span, to=tuple(map(site_at, receivers)))
            do = [Input(role="do", key=last)]
        return last

    def intervention(self, applied: Applied, pairs: PairSet) -> str:
        """One change of one activation, with the clean runs that it takes its values from."""
        place = applied.operand("site")
        assert isinstance(place, Place)
        # What is not in the model can't be set, only its effect added: a change from the base's.
        taken = {*applied.word.sides, *(["base"] if place.site.is_virtual else [])}
        inputs = [Input(role=s, key=self.clean_run(pairs, s)) for s in SIDES if s in taken]
        inputs += [
            Input(role=role, key=self.applied(value))
            for role, value in applied.operands
            if isinstance(value, Applied)
        ]
        if isinstance(applied.word, Change) and applied.word.on_prompts:
            inputs.append(Input(role="pairs", key=self.pair_set(pairs)))
        origin = applied.operand("from")
        if isinstance(origin, Origin):
            inputs.append(Input(role="values", key=self.origin(origin, place, pairs)))
        key = self.add(applied.word, inputs, applied.span, at=site_at(place))
        self.graph.types[key] = applied.type
        return key

    def origin(self, origin: Origin, place: Place, pairs: PairSet) -> str:
        """The values that a patch of a place takes from elsewhere."""
        at = site_at(origin.at or place)
        if origin.run is not None:
            named = origin.run
            does, stages = named.in_force
            run = self.run(Run(named.name, does, named.text, (), named.span, stages), pairs)
        else:
            of = origin.of or pairs
            run = self.clean_run(of, of.sources.get(origin.side, origin.side))
        word = MeanSeen() if origin.mean else Seen() if origin.of is None else SeenElsewhere()
        return self.add(word, [Input(role="run", key=run)], origin.span, at=at)

    def runs(self, runs: Iterable[Run], pairs: PairSet) -> dict[str, str]:
        """The operations of some arms on pairs, by the arms' names."""
        return {run.name: self.run(run, pairs) for run in runs}


@dataclass(frozen=True)
class Fit:
    """A learned subspace, whose effect is measured where it was learned and on held-out pairs."""

    key: str
    learned: Applied


def site_at(place: Place) -> SiteAt:
    assert place.position is not None
    return SiteAt(site=place.site, position=place.position)
