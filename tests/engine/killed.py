"""Runs in processes that are killed, in a process of its own that has torch loaded once.

``python -m tests.engine.killed FOLDER COUNT SEED`` runs a program to its end, then COUNT times
kills a run at a random moment and lets another one go on from its store, and last runs eight at
once on one store. It prints what went wrong, a line each. The folder has the small world.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from causaldsl import api
from causaldsl.content_store import ContentStore
from tests.engine.test_store import SMALL, found

PROGRAM = SMALL.replace("epochs: 3", "epochs: 12") + (
    "trace t = patch h along v to logit_diff on flip.test { top 2  at END }\n"
    "measure other on flip.test { a = patch h along v  report kl }\n"
)
AT_ONCE = 8


def run(folder: Path, store: Path, answer: Path) -> None:
    """Run the program; leaves a digest of what it found, and a list of what it put in the store."""
    before: Callable[..., None] = ContentStore.put
    log = os.open(f"{answer}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def put(self: ContentStore, keys: list[str], data: bytes, replace: bool = False) -> None:
        before(self, keys, data, replace)
        os.write(log, f"{sorted(keys)[0]} {len(keys)} {hash(data)}\n".encode())

    ContentStore.put = put  # type: ignore[method-assign]
    made = api.run(folder / "p.cpatch", store=store)
    text = repr(found(made))
    answer.write_text(json.dumps([text, made.reused]))


def started(folder: Path, store: Path, answer: Path) -> int:
    """A process that runs the program."""
    child = os.fork()
    if child == 0:
        try:
            run(folder, store, answer)
            os._exit(0)
        except BaseException as error:
            print(f"{answer.name}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
    return child


def put_by(answer: Path) -> set[str]:
    log = Path(f"{answer}.log")
    return set(log.read_text().splitlines()) if log.is_file() else set()


def main(folder: Path, count: int, seed: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    (folder / "p.cpatch").write_text(PROGRAM)
    api.run(folder / "p.cpatch", store="none")  # imports what a run imports
    begun = time.perf_counter()
    os.waitpid(started(folder, folder / "whole", folder / "whole.json"), 0)
    seconds = time.perf_counter() - begun
    whole, _ = json.loads((folder / "whole.json").read_text())
    units = put_by(folder / "whole.json")
    inside = 0
    for i in range(count):
        store, first, second = (folder / f"{name}{i}" for name in ("store", "first", "second"))
        child = started(folder, store, first)
        time.sleep(chance.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.waitpid(started(folder, store, second), 0)
        if not second.is_file():
            print(f"kill {i}: the next run ended without numbers")
            continue
        text, _ = json.loads(second.read_text())
        if text != whole:
            print(f"kill {i}: other bits")
        if again := put_by(first) & put_by(second):
            print(f"kill {i}: {len(again)} finished units were made again")
        made = put_by(first) | put_by(second)
        if made - units or len(units - made) > 1:  # one that was put, and killed before it said so
            print(f"kill {i}: other units than those of a whole run")
        inside += 0 < len(put_by(first)) < len(units)
    if inside < count / 4:
        print(f"only {inside} of {count} kills were in the middle: {seconds:.2f} s a run")
    together = [folder / f"together{i}.json" for i in range(AT_ONCE)]
    children = [started(folder, folder / "shared", answer) for answer in together]
    for child in children:
        os.waitpid(child, 0)
    for answer in together:
        if not answer.is_file() or json.loads(answer.read_text())[0] != whole:
            print(f"{answer.name}: other bits beside seven others")
    if ContentStore(folder / "shared").verify():
        print("a damaged record")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
