"""`causaldsl models`: what a program can name, and fetching one."""

from __future__ import annotations

import argparse

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, console, tell
from causaldsl.diagnostics import Mistake


def add(commands: Commands) -> None:
    models = commands.add_parser(
        "models",
        help="list models; `models pull NAME` fetches one, `models verify` checks its files",
    )
    models.add_argument("action", nargs="?", choices=("list", "pull", "verify"), default="list")
    models.add_argument("name", nargs="?", help="of the model to fetch or to check")
    models.add_argument(
        "--families", action="store_true", help="list the families of models that are known"
    )
    models.set_defaults(command=_models)


def _models(options: argparse.Namespace) -> int:
    if options.families:
        return _families()
    if options.action == "pull":
        return _pull(options.name)
    if options.action == "verify":
        return _verify(options.name)
    from rich.table import Table

    from causaldsl.model.catalog import catalog

    table = Table(title="Models that a program can name", title_justify="left")
    for column in ("name", "about", "licence", "size", "on this machine"):
        table.add_column(column, overflow="fold", min_width=12)
    for entry in catalog():
        where = str(entry.where or "built in") if entry.present else "no: causaldsl models pull"
        table.add_row(entry.name, entry.about, entry.licence, entry.size, where)
    out = console()
    out.print(table)
    out.print("Also a local Hugging Face folder, a GGUF file, or a hub name such as gpt2.")
    return 0


def _families() -> int:
    from dataclasses import astuple, fields

    from rich.table import Table

    from causaldsl.model.families.summary import Row, rows

    table = Table(title="Families of models that are known", title_justify="left")
    for column in fields(Row):
        table.add_column(column.name, overflow="fold")
    for row in rows():
        table.add_row(*astuple(row))
    out = console()
    out.print(table)
    out.print("Any other that TransformerLens knows runs on hooks, without matrices, without a")
    out.print(
        "random MLP, and with `layernorm recompute`. docs/models.md says what a number means."
    )
    return 0


def _verify(name: str | None) -> int:
    """Hash every file of a model, or of all that are here, and say what was changed."""
    from causaldsl.model.catalog import catalog, verify

    here = [entry.name for entry in catalog() if entry.present and entry.where is not None]
    worst = 0
    for one in [name] if name else here:
        bad = verify(one)
        if bad is None:
            tell(f"{one}: nothing here says what its files should be")
        elif bad:
            worst = 1
            tell(f"{one} is damaged: {'; '.join(bad)}. Mend it with `causaldsl models pull {one}`")
        else:
            tell(f"{one} is whole: every file is as it was made")
    return worst


def _pull(name: str | None) -> int:
    from causaldsl.model.catalog import pull

    if not name:
        raise Mistake("no-name", "which model?", "causaldsl models pull smollm2-135m")
    spec = pull(name, complain, fully=True)
    tell(f"{spec.name} is ready: {spec.path or 'built in'}")
    return 0
