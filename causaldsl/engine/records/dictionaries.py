"""Dictionaries: what the program took from which files."""

from __future__ import annotations

from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session


@gathers("dictionaries")
def dictionaries(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {n: d for n, d in program.defined.items() if isinstance(d, CheckedDictionary)}
    return {name: _record(dictionary) for name, dictionary in found.items()}


def _record(of: CheckedDictionary) -> dict[str, Any]:
    form = of.dictionary.form
    return {
        "layout": form.layout,
        "kind": form.activation,
        "k": form.k,
        "features": form.features,
        "reads": str(of.site.read),
        "writes": str(of.site.written),
        "trained_on": form.model,
        "files": of.written,
        "digest": of.dictionary.digest,
    }
