"""Puts the parser's tables into the wheel, so that its first start does not build them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Tables(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # its grammar may change; a checkout keeps its own tables
            return
        sys.path.insert(0, self.root)
        from causaldsl.syntax import grammar

        text, name = grammar.grammar_and_name()
        path = Path(self.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(grammar.tables_of(grammar.built(text)), "utf-8")
        build_data["force_include"][str(path)] = f"causaldsl/_grammar/{name}"
