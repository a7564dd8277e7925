"""`causaldsl lsp`: the language server that editors start."""

from __future__ import annotations

import argparse
import os
import sys

from causaldsl.commands.options import Commands
from causaldsl.diagnostics import Mistake


def add(commands: Commands) -> None:
    lsp = commands.add_parser("lsp", help="the language server for editors (docs/editor.md)")
    lsp.add_argument("--stdio", action="store_true", help="talk on standard input and output")
    lsp.set_defaults(command=_lsp)


def _lsp(options: argparse.Namespace) -> int:
    try:
        from causaldsl.editor.server import serve
    except ModuleNotFoundError as error:
        if error.name not in ("pygls", "lsprotocol"):
            raise
        message = f"the language server needs {error.name}, which is not installed"
        raise Mistake("no-editor", message, 'pip install "causaldsl[editor]"') from None
    # Whatever a package prints must not get between the messages to the editor.
    sys.stdout.flush()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, out)
    return 0
