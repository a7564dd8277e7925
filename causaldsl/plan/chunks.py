"""How much goes through the model, or is gathered, at the same time. No number depends on it.

Memory runs out first where the vocabulary or all arms are held at once; a backend halves its own
limit when it does (``engine/memory/retry.py``).
"""

from __future__ import annotations

ARM_ROWS = 8192
"""Rows (arms x prompts) whose values to patch in are gathered together."""
VOCABULARY_ROWS = 256
"""Rows (arms x prompts) whose logits over the whole vocabulary are held together."""
DOUBLE_ROWS = 64
"""Prompts whose logits over the whole vocabulary are in double precision together."""
GRADIENT_ROWS = 64
"""Prompts whose forward passes are remembered together for the backward pass."""
CONE_TOKENS = 1024
"""Positions that go through the cone together on a CPU, where more would leave its caches."""
MOST_POSITIONS = 2**16
"""The most that go through it together anywhere."""
COMPARED_PAIRS, COMPARED_RUNS = 16, 64
"""How much of a run in bfloat16 is run again in both precisions, at most."""
SENDERS_HELD = 64
"""Senders of edges whose differences take as much memory as a pass does otherwise."""
WRITTEN_TOGETHER = 32
"""Prompts that are written on together at most; what is written is kept after each such part."""
HOOKS_PROMPTS = 64
"""Prompts that go through a model with hooks together."""


def chunked(count: int, rows: int, at_once: int = ARM_ROWS) -> list[range]:
    """Arms in chunks, so that arms x ``rows`` prompts stay below a limit; at least one a chunk.

    >>> chunked(5, 4000)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    step = max(1, at_once // max(1, rows))
    return [range(begin, min(begin + step, count)) for begin in range(0, count, step)]
