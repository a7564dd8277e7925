"""All comparisons, in one process: one JSON file and one table.

    python benchmarks/run.py [--only NAME ...] [--repetitions 5] [--model NAME] [--quick]

Every comparison takes the same pairs to every side, checks that their outputs are equal, and lets
the sides take turns. With `--only`, what the file has of the others stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import QUICK, Bench, Sizes
from common import machine, stamp
from comparisons import COMPARISONS
from limits import limits
from overhead import overhead
from peers import NAMES, Peer
from rich.console import Console
from tables import comparison_table, limit_table, overhead_lines
from turns import take_turns

SCHEMA = 2
ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results.json"
OVERHEAD = "overhead"


def main() -> None:
    options = _options()
    sizes = QUICK if options.quick else Sizes()
    if options.pairs is not None:
        sizes = replace(sizes, sweep=options.pairs)
    chosen = options.only or [*COMPARISONS, OVERHEAD]
    results = _begin(options)
    made = stamp("run.py")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.model, sizes, Path(folder))
        assert bench.spec.path is not None
        peers = [Peer(name, bench.spec.path, Path(folder)) for name in options.peers]
        bench.peers = peers
        try:
            for name in (name for name in COMPARISONS if name in chosen):
                comparison = COMPARISONS[name](bench)
                found = take_turns(comparison, options.repetitions, _say)
                found |= {"repetitions": options.repetitions} | made
                _keep(results["comparisons"], found)
                for limit in limits(bench, {name: found}):
                    _keep(results["limits"], limit)
                results["versions"] |= {p.name: p.version for p in peers if p.version}
                _write(options.out, results)
                del comparison  # and its model
        finally:
            for peer in peers:
                peer.close()
    if OVERHEAD in chosen:
        found = overhead(options.program, options.repetitions, _say)
        results[OVERHEAD] = found | made
    _write(options.out, results)
    _print(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*COMPARISONS, OVERHEAD], help="some of them")
    parser.add_argument("--repetitions", type=int, default=5, help="after one of warm-up")
    parser.add_argument("--pairs", type=int, help="of the sweep over layers")
    parser.add_argument("--model", default="smollm2-135m", help="catalog name or folder")
    parser.add_argument("--peers", nargs="*", choices=NAMES, default=NAMES, help="none: --peers")
    parser.add_argument("--quick", action="store_true", help="very small, to see that it works")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    parser.add_argument(
        "--program",
        type=Path,
        default=ROOT / "programs/mlp_in_the_middle.cpatch",
        help="whose overhead is measured",
    )
    return parser.parse_args()


def _begin(options: argparse.Namespace) -> dict[str, Any]:
    """What is known before anything is measured; with `--only`, also what was measured before."""
    kept: dict[str, Any] = {"comparisons": [], "limits": [], OVERHEAD: None, "versions": {}}
    if options.only and options.out.exists():
        old = json.loads(options.out.read_text())
        if old["schema_version"] == SCHEMA and old["model"] == options.model:
            kept = {name: old[name] for name in kept}
    versions = {name: version(name) for name in ("causaldsl", "transformer-lens", "transformers")}
    return kept | {
        "schema_version": SCHEMA,
        "machine": machine(),
        "model": options.model,
        "versions": kept["versions"] | versions,
    }


def _keep(records: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """Add a record, in place of the one of the same name."""
    same = [(record["name"], record["about"]) for record in records]
    if (found["name"], found["about"]) in same:
        records[same.index((found["name"], found["about"]))] = found
        return
    records.append(found)


def _write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _print(results: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(comparison_table(results))
    if results["limits"]:
        console.print(limit_table(results))
    for line in overhead_lines(results):
        console.print(line)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
