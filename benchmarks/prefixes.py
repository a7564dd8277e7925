"""Shared prefixes: the same programs with and without, in turn, in one process.

    python benchmarks/prefixes.py [--programs NAME ..] [--repetitions 5]

Writes prefixes.json: of every run the CPU seconds of the process (on a busy machine the clock says
less) and of its clean passes, and of every program the medians of the single ratios. What is
measured is compared: means of all arms must agree to float32's rounding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from common import machine, stamp
from product import Compiled, Product, compiled
from turns import LOGITS, significant

from causaldsl.check.program import check_file
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.session import Session
from causaldsl.engine.weights.load import load
from causaldsl.graph.compiler import compile_program
from causaldsl.model.catalog import resolve
from causaldsl.plan import prefixes

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "prefixes.json"
NEVER = 2.0
FEW_SHOT = """\
model lm = "smollm2-135m"
lexicon name = words(["Mary", "John", "Tom", "James", "Martin", "Kate", "Anna", "Paul", "Mark",
  "Luke", "Sarah", "Laura", "Emma", "Jack", "Peter", "Alice", "Bob", "Carol", "David", "Grace"])
prompts asked {
  test "When Tom and Kate went to the store, Tom gave a drink to Kate. When Anna and Paul went to \
the park, Paul gave a ring to Anna. When Bob and Carol went to the school, Carol gave a book to \
Bob. When Emma and Jack went to the office, Emma gave a kiss to Jack. When Luke and Sarah went to \
the house, Sarah gave a snack to Luke. When {X} and {Y} went to the store, {Z} gave a drink to"
  slots X Y Z: name
  answer A  foil B
  position END = last
}
pairs flip = asked ABB <-> ABA { test 64  seed 0 }
site middle = resid_post[20] @ END
measure m on flip.test { whole = patch middle  report logit_diff }
"""
MAIN = "mlp_in_the_middle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", nargs="+", default=["few_shot", MAIN])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    product = Product(load(resolve("smollm2-135m", ROOT)))
    found = json.loads(OUT.read_text())["programs"] if OUT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.programs:
            program = _compiled(name, Path(folder))
            found[name] = _in_turn(product, program, options.repetitions) | stamp("prefixes.py")
    written = {"machine": machine(), "programs": found}
    OUT.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")


def _compiled(name: str, folder: Path) -> Compiled:
    if name == "few_shot":
        return compiled(FEW_SHOT, folder, name)
    program = check_file(ROOT / "programs" / f"{name}.cpatch")
    return Compiled(program, compile_program(program), 0.0, 0.0)


def _in_turn(product: Product, program: Compiled, repetitions: int) -> dict[str, Any]:
    sides: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    for repetition in range(repetitions):
        means = {}
        for side, times in sides.items():
            with _sharing(side == "with"), _clean_seconds() as clean:
                began, clock = time.process_time(), time.perf_counter()
                session = product.run(program)[0]
                took = time.process_time() - began, time.perf_counter() - clock
            means[side] = _means(session)
            one = {"cpu": took[0], "clean_cpu": clean[0], "clock": took[1]}
            print(repetition, side, one, file=sys.stderr, flush=True)
            times.append({part: significant(value) for part, value in one.items()})
        assert (means["with"] - means["without"]).abs().max() < LOGITS
    ratios = {
        part: [a[part] / b[part] for a, b in zip(sides["with"], sides["without"], strict=True)]
        for part in ("cpu", "clean_cpu", "clock")
    }
    return {"runs": sides} | {
        f"{part}_ratio": significant(statistics.median(values)) for part, values in ratios.items()
    }


@contextmanager
def _sharing(shared: bool) -> Iterator[None]:
    usual = prefixes.LEAST_SAVED
    prefixes.LEAST_SAVED = usual if shared else NEVER
    try:
        yield
    finally:
        prefixes.LEAST_SAVED = usual


@contextmanager
def _clean_seconds() -> Iterator[list[float]]:
    """CPU seconds in clean passes of the cone."""
    total, usual = [0.0], ConeBackend.clean

    def timed(self: ConeBackend, wanted: Any) -> Any:
        began = time.process_time()
        made = usual(self, wanted)
        total[0] += time.process_time() - began
        return made

    ConeBackend.clean = timed  # type: ignore[method-assign]
    try:
        yield total
    finally:
        ConeBackend.clean = usual  # type: ignore[method-assign]


def _means(session: Session) -> torch.Tensor:
    """The mean logit difference of the clean runs, which no training changes."""
    plan = session.plan
    outcomes = [
        session.values[key]
        for key in plan.outcomes
        if session.graph.operation(key).word.word == "clean_run" and key in session.values
    ]
    found = [one.logit_diff.double().mean() for one in outcomes if isinstance(one, Outcome)]
    return torch.stack(found)


if __name__ == "__main__":
    main()
