"""The house of the front end: no circles of imports, every node has a handler, none has two."""

from __future__ import annotations

import ast as python
import typing
from pathlib import Path

import networkx as nx
import pytest

from causaldsl.check.context import CHECKS, HANDLERS, MAKERS, checks, handles, makes
from causaldsl.check.operands import READ
from causaldsl.check.program import load_handlers
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import OperandKind
from causaldsl.vocabulary.makers import Jsonl, Words
from causaldsl.vocabulary.register import BUILT_IN

PACKAGE = Path(__file__).parents[2] / "causaldsl"

load_handlers()


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, for types alone too."""
    found: set[str] = set()
    for node in python.walk(python.parse(path.read_text())):
        if isinstance(node, python.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, python.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & modules.keys()


def test_no_module_imports_itself_by_others() -> None:
    modules = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = nx.DiGraph(
        (name, other) for name, path in modules.items() for other in imports(path, modules) - {name}
    )
    circles = [part for part in nx.strongly_connected_components(graph) if len(part) > 1]
    assert graph.number_of_edges() > 500
    assert circles == []


def members(kind: typing.Any) -> set[type]:
    """The classes of a union of nodes, or those below a class of nodes."""
    if typing.get_args(kind):
        return set(typing.get_args(kind))
    below = set().union(*(members(cls) for cls in kind.__subclasses__()))
    return below or {kind}


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: n for path, n in lengths.items() if n > 430} == {}


def test_every_statement_has_a_checker() -> None:
    assert members(ast.Statement) == CHECKS.keys()


def test_every_expression_has_a_handler() -> None:
    assert members(ast.Expression) == HANDLERS.keys()


def test_every_maker_and_operand_is_read() -> None:
    for word in BUILT_IN.makers.values():
        assert any(base in MAKERS for base in word.__mro__), word
    tables = (BUILT_IN.functions, BUILT_IN.interventions, BUILT_IN.makers)
    kinds = {o.kind for table in tables for word in table.values() for o in word.operands}
    assert kinds <= READ.keys() <= set(typing.get_args(OperandKind))


def test_nothing_is_registered_twice() -> None:
    for register, key in ((handles, ast.Name), (checks, ast.Let), (makes, Words)):
        with pytest.raises(ValueError, match=f"{key.__name__} is registered twice"):
            register(key)(lambda *given: None)


def test_a_maker_is_made_by_the_function_of_its_base() -> None:
    assert Jsonl not in MAKERS
    assert "read" in {MAKERS[base].__name__ for base in Jsonl.__mro__ if base in MAKERS}
