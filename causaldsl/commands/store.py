"""`causaldsl store`: what is kept of earlier runs, and clearing it."""

from __future__ import annotations

import argparse
from datetime import datetime

from causaldsl.commands.options import Commands, add_store
from causaldsl.commands.output import console, tell
from causaldsl.diagnostics import Mistake


def add(commands: Commands) -> None:
    store = commands.add_parser(
        "store",
        help="list what is kept of earlier runs; `store gc` makes room, `store verify` hashes it",
        epilog="Exit code of verify: 0 all is whole, 1 something was damaged, and is deleted.",
    )
    store.add_argument("action", nargs="?", choices=("ls", "gc", "verify"), default="ls")
    add_store(store)
    store.set_defaults(command=_store)


def _store(options: argparse.Namespace) -> int:
    from causaldsl.content_store import chosen_store

    store = chosen_store(options.store, options.store_limit)
    if store is None:
        raise Mistake("no-store", "there is no store", "name its folder: --store DIR")
    if options.action == "gc":
        count, size = store.collect(store.limit)
        tell(f"{count} records deleted, {_megabytes(size)}; at most {_megabytes(store.limit)} stay")
        return 0
    if options.action == "verify":
        bad = store.verify()
        for record in bad:
            tell(f"{record.name[:12]} was damaged, and is deleted: it is made again when needed")
        tell(f"{len(store.records())} records in {store.folder} are whole")
        return 1 if bad else 0
    from rich.table import Table

    records = store.records()
    table = Table(title=f"Kept in {store.folder}", title_justify="left")
    for column in ("what", "size", "last used", "made by"):
        table.add_column(column, overflow="fold")
    for record in reversed(records):
        said = record.about()
        used = datetime.fromtimestamp(record.used).strftime("%Y-%m-%d %H:%M")
        what = str(said.get("what", "damaged: `causaldsl store verify` deletes it"))
        table.add_row(what, _megabytes(record.size), used, str(said.get("made_by", "")))
    out = console()
    out.print(table)
    whole, limit = _megabytes(store.size()), _megabytes(store.limit)
    out.print(f"{len(records)} records, {whole} of at most {limit}")
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.2f} MB"
