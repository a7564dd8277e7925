"""From a syntax tree to a checked program: all that can be known before a weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from causaldsl.check import data
from causaldsl.check.apply import Applier
from causaldsl.check.audits import check_audit
from causaldsl.check.checked import CheckedProgram, Claim, Output
from causaldsl.check.corpora import text_prompts
from causaldsl.check.expressions import Expressions
from causaldsl.check.histograms import check_histogram
from causaldsl.check.measurements import check_measure, check_sweep, token_labels
from causaldsl.check.params import Params, locate, model_source
from causaldsl.check.paths import named_path
from causaldsl.check.plots import can_plot, plot_options
from causaldsl.check.scope import BROKEN, Scope
from causaldsl.check.sources import read_text
from causaldsl.check.tables import check_table
from causaldsl.check.traces import check_trace
from causaldsl.check.values import Applied, CheckedTrace, Measurement
from causaldsl.diagnostics import (
    Diagnostics,
    Label,
    ProgramError,
    Source,
    Span,
    located,
    wrong,
)
from causaldsl.model.catalog import resolve
from causaldsl.model.shapes import Shapes
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.syntax.recover import read
from causaldsl.vocabulary.base import SubspaceType, TruthType, load_vocabulary


def check_file(
    path: Path,
    progress: Callable[[str], None] | None = None,
    settings: Mapping[str, str] | None = None,
) -> CheckedProgram:
    """Parse and check a program file; ``settings`` gives params other values, as text.

    Raises:
        ProgramError: with every independent mistake, in source order.
        Mistake: for a setting that the program has no param for.
    """
    source = Source(str(path), path.read_text(encoding="utf-8-sig"))
    return Checker(source, path, progress, settings).check()


class Checker:
    """Walks the statements of one program and of the files that it imports."""

    def __init__(
        self,
        source: Source,
        path: Path,
        progress: Callable[[str], None] | None = None,
        settings: Mapping[str, str] | None = None,
    ):
        load_vocabulary()
        self.program = CheckedProgram(source, path)
        self.progress = progress
        self.params = Params(settings or {})
        self.program.settings = dict(settings or {})
        self.scope = Scope()
        self.problems = Diagnostics()
        self.model_span: Span | None = None
        self.importing: list[Path] = [path.resolve()]
        self.imported: set[Path] = set()
        self.enter(path.parent)

    def enter(self, folder: Path) -> None:
        """Relative paths start at ``folder`` from here on."""
        self.folder = folder
        self.apply = Applier(folder, self.shapes)
        self.expressions = Expressions(self.scope, self.apply, self.shapes)

    def check(self) -> CheckedProgram:
        self.statements(self.read(self.program.source))
        self.problems.raise_if_any()
        self.params.check_all_used()
        self.program.params = self.params.values
        return self.program

    def read(self, source: Source) -> ast.Program:
        """The tree of a file. Its syntax errors are kept with the other mistakes."""
        tree, errors = read(source)
        for error in errors:
            self.problems.add(error)
        return tree

    def statements(self, tree: ast.Program) -> None:
        for statement in tree.statements:
            for binding in getattr(statement, "bindings", ()):
                self.scope.loops.setdefault(binding.name.text, binding.span)
            if name := _defined_name(statement):
                self.scope.later.setdefault(name.text, name.span)
        for statement in tree.statements:
            with self.problems.collecting(statement.span):
                try:
                    self.statement(statement)
                except ProgramError:
                    self.break_name(statement)
                    raise

    def statement(self, statement: ast.Statement) -> None:
        handler = _STATEMENTS.get(type(statement))
        if handler is None:
            word = statement.span.text.split()[0]
            message = f"`{word}` is a statement that `check` does not know"
            raise wrong("unknown-statement", message, statement.span)
        handler(self, statement)

    def break_name(self, statement: ast.Statement) -> None:
        """A name whose statement is wrong exists, but its uses should say nothing more."""
        name = _defined_name(statement)
        if name is not None and name.text not in self.scope.values:
            self.scope.values[name.text] = BROKEN
            self.scope.places[name.text] = name.span

    def shapes(self, span: Span) -> Shapes:
        """The model's shapes; an error at ``span`` if there is no model."""
        if self.program.model is None:
            if self.model_span is not None or self.scope.incomplete:
                raise ProgramError([])  # the model statement or an import is wrong
            raise wrong(
                "no-model",
                "there is no model yet",
                span,
                'begin the program with a line such as: model lm = "smollm2-135m"',
            )
        return self.program.model.shapes

    def tokenizer(self, span: Span) -> Tokens:
        """The model's tokenizer, read once."""
        if not self.shapes(span).text:
            raise wrong(
                "toy-text",
                f"{self.shapes(span).name} reads numbers, not text",
                span,
                "write pairs NAME = numbers(base: [1, 2], source: [3, 4])",
            )
        if self.program.tokens is None:
            assert self.program.model is not None
            assert self.program.model.path is not None
            with located(span):
                self.program.tokens = Tokens.load(self.program.model.path)
        return self.program.tokens


def _defined_name(statement: ast.Statement) -> ast.Identifier | None:
    return statement.name if isinstance(statement, ast.Definition | ast.Broken) else None


def _broken(self: Checker, node: ast.Broken) -> None:
    """What the statement would have brought is missing, and its uses should say nothing more."""
    if node.keyword in ("import", "use"):
        self.scope.incomplete = True
    if node.keyword == "model":
        self.model_span = node.span
    raise ProgramError([])


def _import(self: Checker, node: ast.ImportFile) -> None:
    path = (self.folder / node.path.text).resolve()
    if path in self.importing:
        raise wrong("import-cycle", f"{node.path.text} imports itself", node.path.span)
    if path in self.imported:
        return  # by another way: its names are there already
    before, self.scope.incomplete = self.scope.incomplete, True  # until the file has been read
    with located(node.path.span):
        text = read_text(path, node.path.text)
    tree = self.read(Source(str(self.folder / node.path.text), text))
    self.scope.incomplete = before
    for statement in tree.statements:
        if isinstance(statement, _EXPERIMENT):
            raise wrong(
                "import-experiment",
                f"{node.path.text} is imported, but does more than define names",
                statement.span,
                "keep measurements, claims and pictures in the program that is run",
                [Label(node.path.span, "imported here")],
            )
    self.imported.add(path)
    self.program.imports.append(tree.span.source)
    outer = self.folder
    self.importing.append(path)
    self.enter(path.parent)
    self.statements(tree)
    self.enter(outer)
    self.importing.pop()


def _param(self: Checker, node: ast.Param) -> None:
    value = self.params.value(self.expressions, node, self.folder)
    self.scope.define(node.name.text, node.name.span, value)


def _model(self: Checker, node: ast.Model) -> None:
    if self.model_span is not None:
        raise wrong(
            "two-models",
            "a program has one model",
            node.span,
            "put the second experiment into a file of its own",
            [Label(self.model_span, "the model")],
        )
    self.model_span = node.span
    source = model_source(self.params, self.scope, node)
    with located(node.source.span):
        self.program.model = resolve(source, locate(source, self.folder), self.progress)
    self.scope.define(node.name.text, node.name.span, self.program.model)


def _site(self: Checker, node: ast.Site) -> None:
    self.scope.define(node.name.text, node.name.span, self.expressions.place(node.value, False))


def _subspace(self: Checker, node: ast.Subspace) -> None:
    value = self.expressions.of_type(node.value, SubspaceType, "a subspace")
    self.scope.define(node.name.text, node.name.span, value)
    self.program.named[node.name.text] = value


def _let(self: Checker, node: ast.Let) -> None:
    value: Any = self.expressions.value(node.value)
    self.scope.define(node.name.text, node.name.span, value)
    if isinstance(value, Applied):
        self.program.named[node.name.text] = value


def _path(self: Checker, node: ast.Path) -> None:
    path = named_path(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, path)
    self.program.paths[node.name.text] = path


def _trace(self: Checker, node: ast.Trace) -> None:
    trace = check_trace(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, trace)
    self.program.traces[node.name.text] = trace


def _measure(self: Checker, node: ast.Measure) -> None:
    measurement = check_measure(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, measurement)
    self.program.measurements[node.name.text] = measurement


def _audit(self: Checker, node: ast.Audit) -> None:
    audit = check_audit(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, audit)
    self.program.audits[node.name.text] = audit


def _sweep(self: Checker, node: ast.Sweep) -> None:
    measurement = _show_tokens(self, node, check_sweep(self.expressions, node))
    self.scope.define(node.name.text, node.name.span, measurement)
    self.program.measurements[node.name.text] = measurement


def _table(self: Checker, node: ast.Table) -> None:
    table = check_table(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, table)
    self.program.tables[node.name.text] = table


def _histogram(self: Checker, node: ast.Histogram) -> None:
    histogram = check_histogram(self.expressions, node)
    self.scope.define(node.name.text, node.name.span, histogram)
    self.program.histograms[node.name.text] = histogram


def _show_tokens(self: Checker, node: ast.Sweep, sweep: Measurement) -> Measurement:
    """Give an axis over token indices the tokens that stand there, for the plot."""
    axes = []
    for binding, axis in zip(node.bindings, sweep.axes, strict=True):
        if isinstance(binding.values, ast.Name) and binding.values.text == "positions":
            tokens = self.tokenizer(node.span)
            axis = replace(axis, shown=token_labels(sweep.pairs, tokens, len(axis.labels)))
        axes.append(axis)
    return replace(sweep, axes=tuple(axes))


def _expect(self: Checker, node: ast.Expect) -> None:
    condition = node.condition
    parts = condition.parts if isinstance(condition, ast.Conjunction) else (condition,)
    for part in parts:
        value = self.expressions.of_type(part, TruthType, "a comparison")
        self.program.claims.append(Claim(show(part), value, part.span))


def _output(self: Checker, node: ast.Plot | ast.Render) -> None:
    kind = "plot" if isinstance(node, ast.Plot) else "render"
    target = node.name.text
    options: tuple[str | None, Applied | None, str] = (None, None, "")
    if kind == "plot" or target != "graph":
        value = self.scope.look_up(target, node.name.span)
        rendered = isinstance(value, Measurement | CheckedTrace)
        if not (can_plot(value) if kind == "plot" else rendered):
            what = "a sweep, table or histogram"
            if kind == "render":
                what = "`graph`, a measure, a sweep or a trace"
            raise wrong(
                "wrong-kind", f"`{target}` is not {what}", node.name.span, f"{kind} takes {what}"
            )
        if isinstance(node, ast.Plot):
            options = plot_options(self.expressions, value, node)
    written = Path(node.path.text) if node.path else Path(f"{target}.svg")
    if (
        len(written.name.encode()) > 200
        or written.suffix not in (".svg", ".png", ".pdf")
        or len(written.parts) != 1
    ):
        assert node.path is not None
        raise wrong(
            "bad-output",
            f"`{node.path.text}` is not the name of a picture",
            node.path.span,
            "it goes into the run's folder: use a plain name that ends in .svg, .png or .pdf",
        )
    if written.stem == "graph" and target != "graph":
        raise wrong(
            "output-twice",
            "the run's whole graph is called graph.svg",
            node.path.span if node.path else node.span,
            "choose another name",
        )
    for other in self.program.outputs:
        if other.stem == written.stem:
            raise wrong(
                "output-twice",
                f"two pictures are called {written.stem}",
                node.span,
                'name one of them: plot NAME as "other.svg"',
                [Label(other.span, "the other one")],
            )
    self.program.outputs.append(
        Output(kind, target, written.stem, written.suffix, node.span, *options)
    )


_EXPERIMENT = (
    *(ast.Measure, ast.Sweep, ast.Table, ast.Histogram, ast.Trace, ast.Audit),
    *(ast.Expect, ast.Plot, ast.Render),
)
_STATEMENTS: dict[type, Callable[[Checker, Any], None]] = {
    ast.Broken: _broken,
    ast.ImportFile: _import,
    ast.Param: _param,
    ast.Model: _model,
    ast.Lexicon: data.lexicon,
    ast.Prompts: data.prompts,
    ast.TextPrompts: text_prompts,
    ast.Pairs: data.pairs,
    ast.Site: _site,
    ast.Subspace: _subspace,
    ast.Let: _let,
    ast.Path: _path,
    ast.Measure: _measure,
    ast.Sweep: _sweep,
    ast.Table: _table,
    ast.Histogram: _histogram,
    ast.Trace: _trace,
    ast.Audit: _audit,
    ast.Expect: _expect,
    ast.Plot: _output,
    ast.Render: _output,
}
