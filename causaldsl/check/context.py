"""What a handler of an expression or a statement has at hand, and the registers of handlers.

A handler takes the context and a node. It is registered for the node's class, and found by import:
expressions with :func:`handles`, statements with :func:`checks`, makers with :func:`makes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from causaldsl.check.answered import Asked, check_answers
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.files import Readable
from causaldsl.check.kinds import describe, way_out
from causaldsl.check.limits import Limits
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, PromptSet
from causaldsl.check.places import HeadValue, Place, Point, PositionRef, SiteOwner, head_of
from causaldsl.check.scope import Scope
from causaldsl.check.sets import Members
from causaldsl.check.values import Applied, constant
from causaldsl.diagnostics import (
    Diagnostic,
    Diagnostics,
    Label,
    ProgramError,
    Source,
    Span,
    located,
    wrong,
)
from causaldsl.discovery import Function, into
from causaldsl.model.shapes import ModelDims
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.syntax.recover import read
from causaldsl.vocabulary.base import Maker
from causaldsl.vocabulary.foreign import site_help
from causaldsl.vocabulary.register import Vocabulary
from causaldsl.vocabulary.types import NumberType
from causaldsl.vocabulary.warnings import WARNINGS


@dataclass(frozen=True)
class Context:
    """Where a node is checked: the program so far, its names, and the variables of a loop.

    ``folder`` is where relative paths start; ``importing`` are the files being read, from the
    program's own to the innermost. ``readable`` are the files that it may read, ``limits`` how much
    it may ask for. ``problems`` collects what is wrong with statements.
    """

    program: CheckedProgram
    scope: Scope
    problems: Diagnostics
    folder: Path
    importing: tuple[Path, ...]
    readable: Readable
    limits: Limits
    imported: set[Path] = field(default_factory=set)
    progress: Callable[[str], None] | None = None
    loop: Mapping[str, Any] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    """Variables of the loop that go over what a run is still to choose."""
    opened: Mapping[Path, str] = field(default_factory=dict)
    """Texts of files by their full path that go before what is on disk: an editor has them."""
    compared: set[tuple[str, str]] = field(default_factory=set)
    """Pairs and positions at which bases and sources are compared, looked at already."""

    @property
    def words(self) -> Vocabulary:
        """The language's words and those of the packages that the program uses."""
        return self.scope.words

    def looping(self, bound: Mapping[str, Any], unknown: frozenset[str] = frozenset()) -> Context:
        """The same place, inside a loop whose variables have these values; those of the
        ``unknown`` ones only stand for what a run will choose."""
        still = unknown | self.unknown.difference(bound)
        return replace(self, loop={**self.loop, **bound}, unknown=still)

    def read(self, source: Source) -> ast.Program:
        """The tree of a file. Its syntax errors are kept with the other mistakes.

        Raises:
            Mistake: if it is too long.
        """
        count, message = len(source.text), f"{source.name} has {{}} characters"
        self.limits.check("characters", count, "too-large", message)
        tree, errors = read(source)
        for error in errors:
            self.problems.add(error)
        return tree

    def path(self, written: str) -> Path:
        """The file that a text of the program names, if it may be read.

        Raises:
            Mistake: as :meth:`Readable.file`.
        """
        path = self.readable.file(written, self.folder, self.limits)
        self.program.files[path.resolve()] = str(written)
        return path

    def shapes(self, span: Span) -> ModelDims:
        """The model's shapes; an error at ``span`` if there is no model."""
        if self.program.model is None:
            if self.scope.model is not None or self.scope.incomplete:
                raise ProgramError([])  # the model statement or an import is wrong
            way = 'begin the program with a line such as: model lm = "smollm2-135m"'
            if later := re.search(r"^\s*(model\s+\w+\s*=.*)", span.source.text[span.start :], re.M):
                way = f"move `{later[1].strip()}` above this"
            raise wrong("no-model", "there is no model yet", span, way)
        return self.program.model.shapes

    def components(self, span: Span, use: str) -> ModelDims:
        """The shapes of a model with heads and MLPs; an error for a toy model, which has none."""
        shapes = self.shapes(span)
        if not shapes.text:
            message = f"{shapes.name} is a toy model: it has no heads and MLPs {use}"
            raise wrong("toy-path", message, span, "measure its sites with `measure`")
        return shapes

    def tokens(self, span: Span) -> Tokens:
        """The model's tokenizer, read once; an error at ``span`` for a toy model."""
        if not self.shapes(span).text:
            raise wrong(
                "toy-text",
                f"{self.shapes(span).name} reads numbers, not text",
                span,
                "write pairs NAME = numbers(base: [1, 2], source: [3, 4])",
            )
        if self.program.tokens is None:
            model = self.program.model
            assert model is not None
            assert model.path is not None
            with located(span):
                self.program.tokens = Tokens.load(model.path, model.bos, self.progress)
            if self.program.tokens.doubt is not None:
                self.warn(
                    "bos-in-doubt",
                    self.program.tokens.doubt,
                    self.scope.model or span,
                    "the tokens are as tokenizer.json says; `{ bos yes }` or `{ bos no }` behind "
                    "the model decides",
                )
        return self.program.tokens

    def warn(
        self, code: str, message: str, span: Span, help: str, labels: Iterable[Label] = ()
    ) -> None:
        """Keep a warning of the register. The program is right all the same."""
        assert code in WARNINGS, code
        warning = Diagnostic(code, message, span, help, tuple(labels), warning=True)
        if warning not in self.program.warnings:
            self.program.warnings.append(warning)

    def value(self, node: ast.Expression) -> Any:
        """What an expression stands for.

        Raises:
            ProgramError: if it stands for nothing, with the place.
        """
        return HANDLERS[type(node)](self, node)

    def knows(self, name: str) -> bool:
        """Whether a name stands for something that the program or a loop defined."""
        return name in self.loop or name in self.scope.values

    def of_type(self, node: ast.Expression, kind: type, what: str) -> Any:
        """The value of an expression that must be an :class:`Applied` of this type."""
        value = self.value(node)
        if kind is NumberType and isinstance(value, HeadValue):
            value = constant(float(str(value)), node.span)  # {0.5, 1.5} swept as numbers
        if not isinstance(value, Applied) or not isinstance(value.type, kind):
            text = show(node)
            message = f"`{text}` is {describe(value)}, not {what}"
            raise wrong("wrong-kind", message, node.span, way_out(value, text))
        return value

    def place(self, node: ast.Expression, positioned: bool = True) -> Place:
        """The value of an expression that must be a site, with positions if asked for."""
        return self.as_place(self.value(node), node, positioned)

    def as_place(self, value: Any, node: ast.Expression, positioned: bool = True) -> Place:
        """A value as :meth:`place` gives it, or the error that it is no site."""
        heads = isinstance(value, Members) and value.of in ("heads", "kv_heads")
        if isinstance(value, SiteOwner) or heads:
            raise wrong(
                "head-part",
                f"`{show(node)}` names a head, not one of its activations",
                node.span,
                "add .q, .k, .v, .z, .out or .pattern",
            )
        if isinstance(value, Members) and value.of == "sites":
            raise wrong(
                "several-sites",
                f"`{show(node)}` is a set of {len(value.members)}, and one site is wanted here",
                node.span,
                "sets of sites stand behind verbs, and at the stages of paths",
            )
        if not isinstance(value, Place):
            message = f"`{show(node)}` is {describe(value)}, not a site"
            help = site_help(value) if isinstance(value, str) else getattr(value, "as_site", None)
            raise wrong("wrong-kind", message, node.span, help)
        if positioned and value.position is None:
            if not self.shapes(node.span).text:
                return replace(value, position=PositionRef(Point("END", 0)))
            raise wrong(
                "no-position",
                f"`{show(node)}` does not say at which position",
                node.span,
                "add one, such as `@ END`",
            )
        return value

    def pair_set(
        self,
        node: ast.Expression,
        answers: bool = True,
        several: bool = False,
        asked: Asked = "one",
    ) -> PairSet:
        """The value of an expression that must be pairs, not a family with two parts.

        Without ``answers``, prompts that have none will do; with ``several``, answers of several
        tokens. ``asked`` says what sets of answers, and answers without foils, have to be like.
        """
        found = self._pairs(node, answers)
        if found.spelled and answers and not several:
            raise wrong(
                "several-tokens",
                f"`{show(node)}` has answers of several tokens",
                node.span,
                "they can be measured by measure and sweep; leave out `answers: whole` elsewhere",
            )
        if answers:
            check_answers(found, asked, show(node), node.span)
        return found

    def _pairs(self, node: ast.Expression, answers: bool) -> PairSet:
        value = self.value(node)
        if isinstance(value, PairFamily):
            if value.whole is None:
                parts = value.parts
                way = f"write {' or '.join(part.name for part in parts.values())}"
                if {"train", "test"} <= parts.keys():
                    way = f"learn on {parts['train'].name}, and measure on {parts['test'].name}"
                message = f"`{value.name}` has parts; say which to use"
                raise wrong("which-part", message, node.span, way)
            return value.whole
        if answers and isinstance(value, PromptSet):
            raise wrong(
                "no-answers",
                f"`{show(node)}` has no answers and no sources, which this needs",
                node.span,
                "use pairs; prompts from a corpus are for pca, ridge_r2, logistic_accuracy and "
                "generate; for two classes of texts pair each of one with one of the other in a "
                'file: {"prompt": "..", "source": "..", "answer": " the"}',
            )
        if not isinstance(value, PairSet):
            raise wrong("wrong-kind", f"`{show(node)}` is {describe(value)}, not pairs", node.span)
        return value

    def coordinates(self, node: Any, headed: bool) -> tuple[int, int | None]:
        """A layer, or layer and head: `20`, `l`, `l+1`; `7.3`, `l.0`, `l.h`, a variable."""
        if not headed:
            return self.integer(node, "a layer"), None
        if isinstance(node, ast.Number) and "." in node.text and "e" not in node.text.lower():
            layer, _, head = node.text.partition(".")
            return int(layer), int(head)
        if isinstance(node, ast.Attribute):
            named = ast.Number if node.name.text.isdigit() else ast.Name
            part = named(node.name.span, node.name.text)
            return self.integer(node.owner, "a layer"), self.integer(part, "a head")
        head_value = head_of(self.value(node))
        if head_value is not None:
            return head_value.layer, head_value.head
        raise wrong(
            "head-index",
            f"`{show(node)}` does not say layer and head",
            node.span,
            "write them with a dot, such as head[7.3]",
        )

    def integer(self, node: ast.Expression, what: str) -> int:
        """The value of an expression that must be a whole number known before the run."""
        value = self.value(node)
        number = value.number if isinstance(value, Applied) else None
        if number is None or number != int(number):
            message = f"`{show(node)}` is not a whole number known before the run"
            raise wrong("not-an-integer", message, node.span, f"{what} is wanted here")
        return int(number)

    def point(self, text: str) -> Point:
        """A position as written behind `@`, with the loop variables filled in."""
        point = Point.parse(text)
        bound = self.loop.get(point.name or "")
        if isinstance(bound, Point):
            return Point(bound.name, bound.offset + point.offset)
        if isinstance(bound, Applied) and isinstance(bound.type, NumberType):
            return Point(None, int(bound.number or 0) + point.offset)
        return point


class Located(NamedTuple):
    """A value, and where it is written."""

    value: Any
    span: Span


Operands = Mapping[str, Located]
Handler = Callable[[Context, Any], Any]
Make = Callable[[Context, Any, Operands], Any]


class Statement(NamedTuple):
    """How a kind of statement is checked, and whether it is an experiment."""

    check: Handler
    experiment: bool


HANDLERS: dict[type[ast.Node], Handler] = {}
CHECKS: dict[type[ast.Node], Statement] = {}
MAKERS: dict[type[Maker], Make] = {}


def handles(*nodes: type[ast.Node]) -> Callable[[Function], Function]:
    """Register the function that gives an expression's value. Raises ValueError for a second."""
    return into(HANDLERS, *nodes)


def checks(*nodes: type[ast.Node], experiment: bool = False) -> Callable[[Function], Function]:
    """Register the function that checks a statement. Raises ValueError for a second one.

    Of a definition it gives what its name then stands for. An ``experiment`` measures, claims or
    draws, so it can't stand in an imported file.
    """
    return into(CHECKS, *nodes, entry=lambda function: Statement(function, experiment))


def makes(*words: type[Maker]) -> Callable[[Function], Function]:
    """Register the function that makes what a maker and its subclasses stand for.

    It takes the context, the word with its options, and the operands by name. What it gives stands
    at the call and has the statement's name: neither is known to it.
    """
    return into(MAKERS, *words)
