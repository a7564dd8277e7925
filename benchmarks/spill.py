"""Is a clean run that does not fit into memory better kept in a file, or run again?

    python benchmarks/spill.py [--model NAME] [--pairs N] [--repetitions R]

Prints, for what a patch of mlp_hidden[20] @ END starts from: its size, and the seconds to run it,
to write it, to read it, and to read the rows of a training batch, medians of R turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import machine, make_pairs
from torch import Tensor

from causaldsl.engine.backend import CleanPass
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.edits import Read
from causaldsl.engine.memory.offload import bytes_of
from causaldsl.engine.memory.store import Store, StoredRun, readable
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.sites import Site
from causaldsl.model.tokens import Tokens

BATCH = 64


def opened(store: Store, stored: StoredRun, rows: Tensor | None) -> int:
    """Read everything of some rows; how many bytes that are."""
    return bytes_of(store.open(stored, rows)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    spec = resolve(options.model, Path.cwd(), print)
    backend = ConeBackend(load(spec).hf, spec.shapes)
    tokens = make_pairs(Tokens.load(spec.path), options.pairs).base
    layer = min(20, spec.shapes.n_layers - 1)
    end = Read(Site("mlp_hidden", layer), torch.full((len(tokens), 1), tokens.shape[1] - 1))
    rows = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))[:BATCH]

    seconds: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        made = work()
        seconds.setdefault(what, []).append(time.perf_counter() - began)
        return made

    for _ in range(options.repetitions):
        store = Store(0)  # everything goes to files
        clean = timed("run", partial(backend.clean, CleanPass(tokens, [end], [end])))
        stored = timed("write", partial(store.put, clean, "pairs"))
        timed("read", partial(opened, store, stored, None))
        timed("read a batch", partial(opened, store, stored, rows))
        size = bytes_of(clean)
        store.close()
    print(*(f"{name} {value}" for name, value in machine().items()), sep=", ")
    where = tempfile.gettempdir()
    print(
        f"{len(tokens)} prompts of {tokens.shape[1]} tokens keep {readable(size)}; files in {where}"
    )
    for what, found in seconds.items():
        print(f"{what:14}{median(found):8.4f} s   from {min(found):.4f} to {max(found):.4f}")


if __name__ == "__main__":
    main()
