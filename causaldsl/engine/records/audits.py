"""Audits: the verdict with its evidence, and what was audited."""

from __future__ import annotations

from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session


@gathers("audits")
def audits(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {}
    for name, audit in program.audits.items():
        about = {"audited": audit.text, "site": str(audit.place), "pairs": audit.pairs.name}
        verdict = session.values[session.graph.key_of(name)]
        counts = {"n": session.bootstrap(audit.pairs).units.count, "n_pairs": len(audit.pairs)}
        found[name] = {**about, **counts, **verdict}
    return found
