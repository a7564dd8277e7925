"""`causaldsl sites`: the sites of a model with their shapes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, console

if TYPE_CHECKING:
    from causaldsl.model.shapes import ModelDims
    from causaldsl.vocabulary.sites import SiteWord


def add(commands: Commands) -> None:
    sites = commands.add_parser("sites", help="list a model's sites with their shapes")
    sites.add_argument("model", help="a name, as in a program, or a folder")
    sites.add_argument("--all", action="store_true", help="every layer and head, one line each")
    sites.set_defaults(command=_sites)


def _sites(options: argparse.Namespace) -> int:
    from rich.table import Table

    from causaldsl.model.catalog import resolve

    spec = resolve(options.model, Path.cwd(), complain)
    shapes = spec.shapes
    table = Table(
        title=f"{spec.name}: {shapes.architecture}, {shapes.n_layers} layers", title_justify="left"
    )
    for column in ("site", "width", "TransformerLens hook", ""):
        table.add_column(column, overflow="fold")
    for row in _rows(shapes, options.all):
        table.add_row(*row)
    console().print(table)
    return 0


def _rows(shapes: ModelDims, every: bool) -> list[tuple[str, ...]]:
    """All sites, or one line for each kind with the range of its index."""
    from causaldsl.model.sites import all_sites
    from causaldsl.vocabulary.sites import SITES

    rows: dict[str, tuple[str, ...]] = {}
    for site in all_sites(shapes):
        name, hook = str(site), site.hook_name
        if not every and site.layer is not None:
            count = shapes.n_kv_heads if site.kind.startswith("kv") else shapes.n_heads
            owner, dot, part = site.kind.partition(".")
            heads = f".0..{count - 1}" if site.head is not None else ""
            layers = f"0..{shapes.n_layers - 1}" if shapes.n_layers > 1 else "0"
            name = f"{owner}[{layers}{heads}]{dot}{part}"
            hook = hook.replace(f".{site.layer}.", ".{layer}.")
        rows[name] = (
            name,
            str(site.width(shapes)),
            hook,
            site.word.doc,
        )
    called = [word for word in SITES.values() if word.call and shapes.text]
    rows |= {word.form: _called_row(word, shapes) for word in called}
    return list(rows.values())


def _called_row(word: SiteWord, shapes: ModelDims) -> tuple[str, ...]:
    """A site that is written as a call."""
    width = str(getattr(shapes, word.width)) if word.width else "any"
    return word.form, width, "", word.doc
