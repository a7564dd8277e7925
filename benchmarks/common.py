"""Prompts for the benchmarks, as a file of pairs and as ids, and the machine that they ran on."""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from causaldsl.model.tokens import Tokens
from causaldsl.plan.machine import processor

TEMPLATE = "Then, {} and {} had a long and really crazy argument. Afterwards, {} said to"
SHORT = "When {} and {} met, {} said to"
NAMES = Path(__file__).parents[1] / "programs/lexicons/names.txt"


@dataclass(frozen=True)
class Pairs:
    """Prompts of one length (n, T), their texts, and the ids of each base's answer and foil.

    The prompt in which a name is said twice has the other one as its answer. Base and source differ
    in where the name that is said twice stands first, so the patched prompt should say the foil.
    """

    texts: tuple[tuple[str, str], ...]
    words: tuple[tuple[str, str], ...]
    base: Tensor
    source: Tensor
    answers: Tensor

    def __len__(self) -> int:
        return len(self.base)

    @property
    def targets(self) -> Tensor:
        """The counterfactual answers (n,)."""
        return self.answers[:, 1]

    def to(self, device: str) -> Pairs:
        """The same with all ids on a device."""
        moved = (ids.to(device) for ids in (self.base, self.source, self.answers))
        return Pairs(self.texts, self.words, *moved)

    def lines(self, towards: bool = False) -> str:
        """As a file for ``jsonl``. With ``towards`` the counterfactual answer counts as the answer,
        so that `prob` is its probability."""
        found = []
        for (base, source), words in zip(self.texts, self.words, strict=True):
            answer, foil = reversed(words) if towards else words
            record = {"base": base, "source": source, "answer": answer, "foil": foil}
            found.append(json.dumps(record | {"counterfactual_answer": words[1]}))
        return "\n".join(found) + "\n"


def make_pairs(tokens: Tokens, count: int, template: str = TEMPLATE) -> Pairs:
    """ABB prompts patched from BAB, no pair twice.

    Raises:
        AssertionError: if there are not enough names of one token.
    """
    texts, words, rows = [], [], []
    for a, b in itertools.islice(_names(tokens), count):
        base, source = (template.format(*order) for order in ((a, b, b), (b, a, b)))
        texts.append((base, source))
        words.append((f" {a}", f" {b}"))
        rows.append([tokens.encode(text).ids for text in (base, source)])
    assert len(rows) == count, f"there are only {len(rows)} pairs of names"
    assert len({len(ids) for row in rows for ids in row}) == 1, "prompts of different lengths"
    answers = [[tokens.single(word) for word in pair] for pair in words]
    return Pairs(
        tuple(texts),
        tuple(words),
        torch.tensor([base for base, _ in rows]),
        torch.tensor([source for _, source in rows]),
        torch.tensor(answers),
    )


def _names(tokens: Tokens) -> Iterator[tuple[str, str]]:
    """All ordered pairs of names that are one token, in a seeded order."""
    names = [name for name in NAMES.read_text().split() if tokens.single(f" {name}") is not None]
    pairs = list(itertools.permutations(names, 2))
    random.Random(0).shuffle(pairs)
    yield from pairs


def stamp(script: str) -> dict[str, str]:
    """The day, and the command that runs this script as it is being run."""
    command = " ".join([f"python benchmarks/{script}", *sys.argv[1:]])
    return {"date": time.strftime("%Y-%m-%d"), "command": command}


def machine() -> dict[str, str | int]:
    """What the benchmarks ran on."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
