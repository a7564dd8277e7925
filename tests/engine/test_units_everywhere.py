"""`n` counts units in every record of a run, and `n_pairs` pairs."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from causaldsl.report.tables import print_results
from tests.engine.test_claims import line, run, write
from tests.engine.test_claims import world as world  # the fixture

PROGRAM = """pairs some = jsonl("shared.jsonl")
site mid = resid_post[0] @ END
subspace v = token(" John")
measure m on some { a = patch mid  report logit_diff }
trace t = patch mid to logit_diff on some { top 2  at END }
attribution a to logit_diff on some { over heads }
audit c = illusion(v, at: mid, on: some, directions: 0)
"""


def test_pairs_that_share_a_prompt(world: Path) -> None:
    shared = [line(0), line(0) | {"source": line(2)["source"]}, line(4), line(6)]
    write(world / "shared.jsonl", shared)
    found = run(world, PROGRAM).results
    n = found.measures["m"]["a"]["logit_diff"].n
    assert n == 3
    records = [found.traces["t"], found.attributions["a"], found.audits["c"]]
    assert [(record.n, record.n_pairs) for record in records] == [(n, len(shared))] * 3
    about = found.provenance["pairs"]["some"]
    assert (about["units"], about["n_pairs"]) == (n, len(shared))
    console = Console(file=io.StringIO(), width=200)
    print_results(found, console)
    assert console.file.getvalue().count("n = 3, 4 pairs") == 3  # type: ignore[attr-defined]
