"""`causaldsl graph`: what a program compiles to, and with `--plan` how it would be run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from causaldsl.check.checked import CheckedProgram
from causaldsl.commands.output import tell
from causaldsl.commands.work_options import add_work_options
from causaldsl.diagnostics import Mistake
from causaldsl.graph.graph import Graph

_ASSUMED = 2**30
"""Bytes that the plan counts with: the largest budget that a run takes by itself."""


def add_graph_options(command: argparse.ArgumentParser) -> None:
    """How to show the graph."""
    command.add_argument("--format", choices=("text", "json", "dot", "svg"), default="text")
    command.add_argument(
        "--plan",
        action="store_true",
        help="print how it would be run: passes in order, their arithmetic, what is kept",
    )
    add_work_options(command)


def show_graph(
    options: argparse.Namespace, load: Callable[[argparse.Namespace], CheckedProgram]
) -> int:
    """Print the graph in the format asked for, or the plan."""
    from causaldsl.graph.compiler import compile_program
    from causaldsl.graph.printing import graph_json, graph_text

    program = load(options)
    graph = compile_program(program)
    if options.plan:
        text = plan_of(program, graph, options.memory, options.backend, options.dtype)
    elif options.format in ("text", "json"):
        text = {"text": graph_text, "json": graph_json}[options.format](graph)
    else:
        from causaldsl.report.dot import graph_dot
        from causaldsl.report.pictures import picture_text

        dot = graph_dot(program, graph)
        text = dot if options.format == "dot" else picture_text(dot)
    tell(text, end="")
    return 0


def plan_of(
    program: CheckedProgram,
    graph: Graph,
    budget: int | None = None,
    backend: str = "cone",
    dtype: str = "float32",
) -> str:
    """The plan of a program as text; ``budget`` is what clean runs may keep, in bytes.

    Raises:
        Mistake: if the program names no model, so that there is nothing to plan.
    """
    from causaldsl.model.folders import weight_count
    from causaldsl.plan.cones import expected_backend
    from causaldsl.plan.planner import make_plan
    from causaldsl.plan.printing import plan_text

    model = program.model
    if model is None:
        raise Mistake(
            "no-model", "the program names no model", 'add a line: model lm = "smollm2-135m"'
        )
    plan = make_plan(graph, expected_backend(model.shapes, backend), model.shapes)
    weights = weight_count(model.path) if model.path else None
    return plan_text(graph, plan, model.shapes, budget or _ASSUMED, weights, dtype)
