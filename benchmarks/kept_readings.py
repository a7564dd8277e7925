"""Reading recorded activations from the store against making their clean run again.

    python benchmarks/kept_readings.py

Runs a program that reads one site of SmolLM2, changes a word of it, and runs it again: with the
activations in the store, and without. Prints seconds of processor time and bytes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from causaldsl import api
from causaldsl.content_store import ContentStore

PROGRAMS = Path(__file__).parents[1] / "programs"
TEXT = (PROGRAMS / "ioi.cpatch").read_text()
MADE = "\nsubspace a = mean_difference(mlp_hidden[20] @ END, ABB, BAB, on: flip.train)\n"
CHANGED = "\nsubspace a = pca(mlp_hidden[20] @ END, on: flip.train)\n"
PAIRS = {"n_train": 64, "n_test": 8}


def timed(text: str, store: str) -> tuple[float, torch.Tensor]:
    path = PROGRAMS / "_kept_readings.cpatch"
    path.write_text(TEXT + text)
    try:
        started = time.process_time()
        made = api.run(path, store=store, settings=PAIRS)
        return time.process_time() - started, made.subspaces["a"]["basis"]
    finally:
        path.unlink()


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as store:
        first, _ = timed(MADE, store)
        read, one = timed(CHANGED, store)
        size = sum(
            record.size
            for record in ContentStore(Path(store)).records()
            if str(record.about().get("what")).startswith("activations")
        )
    again, other = timed(CHANGED, "none")
    print(f"first run {first:.1f} s; changed: {read:.2f} s from the store, {again:.1f} s without")
    print(f"{size / 2**20:.2f} MiB of activations; the same bits: {torch.equal(one, other)}")


if __name__ == "__main__":
    main()
