"""One point of growth.py: a program on its pairs, run from nothing; time and memory, as JSON.

    python benchmarks/growth_point.py '{"model": FOLDER, ...}' SCRATCH

Memory is that of the whole process: what it holds when the model is loaded and has been used once
(the check of our forward pass against the model's own), and the peak from then on.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path
from typing import Any

from common import make_pairs
from product import Product, compiled

from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.tokens import Tokens

FILLER = "the "
_KIB = 1024


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    folder = Path(sys.argv[2])
    spec = resolve(asked["model"], Path.cwd())
    assert spec.path is not None
    tokens = Tokens.load(spec.path)
    template = _of_length(tokens, asked["template"], asked["length"])
    pairs = make_pairs(tokens, asked["count"], template)
    (folder / "pairs.jsonl").write_text(pairs.lines(), encoding="utf-8")
    head = f"model lm = {json.dumps(str(spec.path))}\n" + 'pairs p = jsonl("pairs.jsonl")\n'
    program = compiled(head + asked["body"], folder, "point")
    product = Product(load(spec))
    gc.collect()
    _forget_peak()
    before = _resident()
    _, progress, began, ended = product.run(program)
    found = {
        "pairs": len(pairs),
        "tokens": pairs.base.shape[1],
        "check_s": program.check,
        "compile_s": program.compile,
        "clean_s": progress.clean("base") + progress.clean("source"),
        "seconds": ended - began,
        "model_bytes": before,
        "more_bytes": _peak() - before,
    }
    print(json.dumps(found))


def _of_length(tokens: Tokens, template: str, length: int | None) -> str:
    """The template with a filler word in front, as often as it takes."""
    if length is None:
        return template
    made = template
    while len(make_pairs(tokens, 1, made).base[0]) < length:
        made = FILLER + made
    return made


def _status(field: str) -> int | None:
    """A number of this process's status, in bytes; None where the system does not tell."""
    file = Path("/proc/self/status")
    for line in file.read_text().splitlines() if file.exists() else ():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * _KIB
    return None


def _resident() -> int:
    now = _status("VmRSS")
    return _peak() if now is None else now


def _peak() -> int:
    peak = _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB if peak is None else peak


def _forget_peak() -> None:
    """Let the peak begin again; where the system does not allow it, it is that of loading too."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak includes that of loading the model", file=sys.stderr)


if __name__ == "__main__":
    main()
