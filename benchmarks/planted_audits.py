"""Verdicts of the audit on planted directions that its rule was not made with.

PYTHONPATH=. python benchmarks/planted_audits.py           # the table of docs/audit.md
PYTHONPATH=. python benchmarks/planted_audits.py --write   # also what reports show

The rule was made with seeds below 100. Those from 100 on are held out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import causaldsl.report.calibration as kept
from causaldsl.report.calibration import Calibration, Counted
from tests.engine.planting.audited import Case, audited, counted
from tests.engine.planting.cases import ALL

HELD_OUT = range(100, 106)


def rows(calibration: Calibration) -> list[str]:
    """The table in Markdown."""
    heads = ["kind", "cases", "illusions: right / wrong / ?", "features: right / wrong / ?"]
    found = [f"| {' | '.join([*heads, 'nothing: wrong'])} |", "|---|---|---|---|---|"]
    return found + [_row(one) for one in (*calibration.kinds, _total(calibration))]


def _row(one: Counted) -> str:
    illusions, features = (
        f"{right} / {wrong} / {all_ - right - wrong}"
        for right, wrong, all_ in (
            (one.illusory_right, one.illusory_wrong, one.illusory),
            (one.faithful_right, one.faithful_wrong, one.faithful),
        )
    )
    nothing = f"{one.nothing_wrong} of {one.nothing}"
    return f"| {one.kind} | {one.cases} | {illusions} | {features} | {nothing} |"


def _total(calibration: Calibration) -> Counted:
    numbers = [one.model_dump(exclude={"kind"}) for one in calibration.kinds]
    return Counted(kind="**all**", **{key: sum(n[key] for n in numbers) for key in numbers[0]})


def count(cases: list[Case]) -> Calibration:
    """The counts of every kind."""
    kinds = ((kind, [case for case in cases if case.kind == kind]) for kind in ALL)
    return Calibration(kinds=tuple(counted(kind, of_kind) for kind, of_kind in kinds))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--write", action="store_true")
    options.add_argument("--cases", type=Path, help="a file for every case, JSON lines")
    options.add_argument("--seeds", type=int, nargs="*", default=list(HELD_OUT))
    chosen = options.parse_args()
    cases: list[Case] = []
    for seed in chosen.seeds:
        for kind in ALL:
            with tempfile.TemporaryDirectory() as folder:
                found = audited(kind, seed, Path(folder))
            cases += found
            if chosen.cases:
                with chosen.cases.open("a") as file:
                    file.writelines(case.line() for case in found)
            print(f"{kind} {seed}: {len(cases)} cases", flush=True)
    for case in cases:
        if case.wrong:
            print("wrong:", case.kind, case.seed, case.name, case.truth, case.rho, case.record.rule)
    calibration = count(cases)
    print("\n".join(rows(calibration)))
    print("In the planted frame alone:")
    print(rows(count([replace(case, truth=case.planted) for case in cases]))[-1])
    if chosen.write:
        path = Path(kept.__file__).parent / "calibration.json"
        path.write_text(json.dumps(calibration.model_dump(), indent=1) + "\n")


if __name__ == "__main__":
    main()
