"""`causaldsl explain`: what the code of a message means, with a wrong and a right example."""

from __future__ import annotations

import argparse

from causaldsl.codes import NO_FILES, TOPICS, Code, codes, explained, title
from causaldsl.commands.options import Commands
from causaldsl.commands.output import tell


def add(commands: Commands) -> None:
    explain = commands.add_parser("explain", help="say what the code of a message means")
    explain.add_argument("code", nargs="?", help="such as layer-range (default: list them all)")
    explain.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> int:
    tell(_page(explained(options.code)) if options.code else _list())
    return 0


def _page(code: Code) -> str:
    parts = [f"{code.name}: {'a warning' if code.warning else 'an error'}", code.meaning]
    for example in code.examples:
        if example.of not in NO_FILES:
            parts.append(f"{example.of}:")
        parts.append("\n".join(f"  {line}" for line in example.lines))
    if code.examples:
        parts.append("Lines with - are wrong, lines with + right.")
    if code.warning:
        parts.append(f"`allow {code.name}` in a program turns it off.")
    return "\n\n".join(parts)


def _list() -> str:
    lines = []
    for topic in TOPICS:
        names = [code.name for code in codes().values() if code.topic == topic]
        lines += [title(topic), *(f"  {name}" for name in sorted(names)), ""]
    return "\n".join([*lines, "causaldsl explain CODE says what one means."])
