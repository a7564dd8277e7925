"""The audit's verdicts on planted directions, beside the truth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file

from causaldsl.report.calibration import Counted
from causaldsl.results.records import AuditRecord
from tests.engine.planting.build import write
from tests.engine.planting.cases import built, directions
from tests.engine.planting.truth import Bench
from tests.engine.test_interpret import run

CLEAR = ("illusory", "faithful")


@dataclass(frozen=True)
class Case:
    """One direction of one model: what is true of it, and what the audit said."""

    kind: str
    seed: int
    name: str
    exact: bool
    truth: str
    planted: str
    """What is true in the planted frame alone."""
    rho: float | None
    record: AuditRecord

    @property
    def verdict(self) -> str:
        return self.record.verdict

    def line(self) -> str:
        """All but the evidence, as a line of JSON."""
        about = {**asdict(self), "record": None, "verdict": self.verdict, "rule": self.record.rule}
        return json.dumps(about) + "\n"

    @property
    def wrong(self) -> bool:
        """A definite verdict that is not true; of what lies between, none is."""
        if self.truth == "between":
            return False
        return self.verdict not in (self.truth, "inconclusive")


def audited(kind: str, seed: int, folder: Path) -> list[Case]:
    """Every direction of a model, audited in one program in ``folder``."""
    made = built(kind, seed)
    folder.mkdir(exist_ok=True)
    write(made, folder / "model")
    (folder / "model/pairs.jsonl").rename(folder / "pairs.jsonl")
    bench = Bench(made)
    lines = ['model lm = "model"', 'pairs two = jsonl("pairs.jsonl")']
    found = directions(bench)
    for i, direction in enumerate(found):
        save_file({"basis": direction.vectors.contiguous()}, str(folder / f"d{i}.safetensors"))
        where = f"at: {made.spec.written}, on: two, directions: 0"
        lines.append(f'audit a{i} = illusion(file("d{i}.safetensors"), {where})')
    results, _ = run("\n".join(lines) + "\n", folder)
    cases = []
    for i, direction in enumerate(found):
        true = bench.measure(direction.vectors)
        about = (kind, seed, direction.name, direction.exact, true.truth, true.planted, true.rho)
        cases.append(Case(*about, results.audits[f"a{i}"]))
    return cases


def counted(kind: str, cases: list[Case]) -> Counted:
    """How often each verdict was right and wrong."""

    def number(truth: str, *said: str) -> int:
        return sum(case.truth == truth and case.verdict in (said or CLEAR) for case in cases)

    return Counted(
        kind=kind,
        cases=len(cases),
        illusory=sum(case.truth == "illusory" for case in cases),
        illusory_right=number("illusory", "illusory"),
        illusory_wrong=number("illusory", "faithful"),
        faithful=sum(case.truth == "faithful" for case in cases),
        faithful_right=number("faithful", "faithful"),
        faithful_wrong=number("faithful", "illusory"),
        nothing=sum(case.truth == "nothing" for case in cases),
        nothing_wrong=number("nothing"),
    )
