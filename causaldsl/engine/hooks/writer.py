"""Writing with hooks: through the model's own forward pass and its own cache, arm by arm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.backend import Edits


class HooksWriter:
    """Prompts (n, T), all of T tokens. ``forward`` makes a pass of one arm, and gives its logits
    (n, V) and the model's cache behind it."""

    def __init__(self, forward: Any, tokens: Tensor):
        self._forward, self.tokens, self._done = forward, tokens, 0
        self._caches: list[Any] = []

    @torch.no_grad()
    def begin(self, edits: Edits) -> Tensor:
        found = [self._forward(self.tokens, arm, None) for arm in edits]
        self._caches, self._done = [cache for _, cache in found], self.tokens.shape[1]
        return torch.stack([logits for logits, _ in found])

    @torch.no_grad()
    def go_on(self, tokens: Tensor, edits: Edits) -> Tensor:
        own = [[replace(e, positions=e.positions - self._done) for e in arm] for arm in edits]
        self._done += 1
        found = [
            self._forward(row.to(self.tokens.device)[:, None], arm, cache)
            for row, arm, cache in zip(tokens, own, self._caches, strict=True)
        ]
        self._caches = [cache for _, cache in found]
        return torch.stack([logits for logits, _ in found])
