"""`causaldsl graph`: what a program compiles to, and with `--plan` how it would be run."""

from __future__ import annotations

import argparse

from causaldsl import api
from causaldsl.commands.options import (
    WORK,
    Commands,
    add_program,
    add_reading,
    add_settings,
    add_work_options,
    read_limits,
    read_settings,
    read_work,
    refuse_alone,
)
from causaldsl.commands.output import announce, tell


def add(commands: Commands) -> None:
    graph = commands.add_parser("graph", help="print the graph that a program compiles to")
    add_program(graph)
    add_settings(graph)
    add_reading(graph)
    graph.add_argument("--format", choices=("text", "json", "dot", "svg"), default="text")
    graph.add_argument(
        "--plan",
        action="store_true",
        help="print how it would be run: passes in order, their arithmetic, what is kept",
    )
    add_work_options(graph)
    graph.set_defaults(command=_graph)


def _graph(options: argparse.Namespace) -> int:
    if not options.plan:
        refuse_alone(options, WORK, "--plan")
    settings = read_settings(options.settings)
    compiled = api.compile(
        options.program,
        settings=settings,
        progress=announce,
        allow=options.allow,
        limits=read_limits(options.limits),
    )
    if options.plan:
        text = api.plan(compiled, **read_work(options))
    elif options.format in ("text", "json"):
        from causaldsl.graph.printing import graph_json, graph_text

        text = {"text": graph_text, "json": graph_json}[options.format](compiled.graph)
    else:
        from causaldsl.report.dot import graph_dot
        from causaldsl.report.pictures import picture_text

        dot = graph_dot(compiled.program, compiled.graph)
        text = dot if options.format == "dot" else picture_text(dot)
    tell(text, end="")
    return 0
