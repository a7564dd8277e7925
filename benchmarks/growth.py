"""How time and memory grow: with the pairs, the prompts' length, the arms and the layers.

    python benchmarks/growth.py [--only pairs length arms layers] [--quick]

Every point is a program run from nothing in a process of its own (growth_point.py), so that its
peak of memory is its own. The points go into growth.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import SHORT, machine, stamp
from rich.console import Console
from rich.table import Table
from tables import GROWN, growth_rows

from causaldsl.model.catalog import resolve

SCHEMA = 2
RESULTS = Path(__file__).parent / "growth.json"
POINT = Path(__file__).parent / "growth_point.py"

VALUES = {
    "pairs": [64, 256, 1000, 3000, 10_000],
    "length": [16, 64, 128, 256, 512],
    "arms": [10, 100, 500, 1000, 2000],
    "layers": [6, 15, 30, 45, 60],
}
QUICK = {"pairs": [2, 4], "length": [30, 34], "arms": [2, 5], "layers": [2, 4]}
ABOUT = {
    "pairs": "two patches in the middle at END, logit differences and the most likely token",
    "length": "the same on 8 pairs; the filler words that all prompts begin with are computed once",
    "arms": "patches along as many random directions of one site in the middle at END, 16 pairs",
    "layers": "two patches in the middle at END of a random Llama as wide as the model, 16 pairs",
}
_TWO = (
    "measure m on p {{ whole = patch resid_post[{layer}] @ END  "
    "neurons = patch mlp_hidden[{layer}] @ END  report fldd, interchange_accuracy }}"
)
_MANY = (
    "site place = resid_post[{layer}] @ END\n"
    "sweep s on p {{ for i in 0..{last}: patch place along random(place, seed: i)  report fldd }}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=VALUES, default=list(VALUES))
    parser.add_argument("--model", default="smollm2-135m", help="catalog name or folder")
    parser.add_argument("--quick", action="store_true", help="very small, to see that it works")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    options = parser.parse_args()
    spec = resolve(options.model, Path.cwd())
    assert spec.path is not None, "a toy model has no tokens"
    values = QUICK if options.quick else VALUES
    results = _begin(options)
    for axis in options.only:
        with tempfile.TemporaryDirectory() as folder:
            make = _POINTS[axis]
            points = []
            for value in values[axis]:
                print(f"{axis} {value}", file=sys.stderr, flush=True)
                asked = make(value, spec.path, spec.shapes.n_layers, Path(folder))
                points.append({"at": value} | _measure(asked, Path(folder)))
        results["axes"][axis] = {"about": ABOUT[axis], "points": points, **stamp("growth.py")}
        options.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    _print(results)


def _begin(options: argparse.Namespace) -> dict[str, Any]:
    axes = {}
    if options.out.exists() and options.only != list(VALUES):
        old = json.loads(options.out.read_text())
        axes = old["axes"] if old["schema_version"] == SCHEMA else {}
    return {
        "schema_version": SCHEMA,
        "machine": machine(),
        "model": options.model,
        "axes": axes,
    }


def _point(model: Path, layers: int, pairs: int, body: str = _TWO, **named: Any) -> dict[str, Any]:
    asked = {"model": str(model), "template": SHORT, "count": pairs, "length": None}
    layer = 2 * layers // 3
    return asked | {"body": body.format(layer=layer, **named)}


def _pairs(value: int, model: Path, layers: int, folder: Path) -> dict[str, Any]:
    return _point(model, layers, value)


def _length(value: int, model: Path, layers: int, folder: Path) -> dict[str, Any]:
    return _point(model, layers, 8) | {"length": value}


def _arms(value: int, model: Path, layers: int, folder: Path) -> dict[str, Any]:
    return _point(model, layers, 16, _MANY, last=value - 1)


def _layers(value: int, model: Path, layers: int, folder: Path) -> dict[str, Any]:
    """Another model: as wide as the given one, random, with so many layers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made = folder / f"layers-{value}"
    config = AutoConfig.from_pretrained(model, num_hidden_layers=value)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(made)
    (made / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    return _point(made, value, 16)


_POINTS: dict[str, Callable[[int, Path, int, Path], dict[str, Any]]] = {
    "pairs": _pairs,
    "length": _length,
    "arms": _arms,
    "layers": _layers,
}


def _measure(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(POINT), json.dumps(asked), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _print(results: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 130)
    for title, rows in _tables(results):
        table = Table(title=title, title_justify="left")
        for column in GROWN:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _tables(results: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    for name, axis in results["axes"].items():
        yield f"{name}: {axis['about']}", growth_rows(axis)


if __name__ == "__main__":
    main()
