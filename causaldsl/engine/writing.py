"""Texts behind prompts, a token at a time: what is drawn, and what is in force where.

With logits l at temperature t > 0, of which ``top_k`` and ``top_p`` leave a set of tokens A::

    p_i = exp(l_i / t) / sum over A,     the next token is the first i with p_0 + .. + p_i > u

u is drawn evenly from 0 to 1, for each prompt and step by a generator of its own, which knows the
seed and the prompt alone. So a text does not depend on what it is written beside, and arms differ
by what they do and not by their luck. At temperature 0 it is the token with the largest logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import Prompt
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Writer
from causaldsl.engine.edits import Edit, Watch
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.runs import Group
from causaldsl.vocabulary.generation import GenerateWord


@dataclass(frozen=True)
class InForce:
    """One change of an arm: at positions of the prompts, or at every token, new ones too."""

    change: PreparedEdit
    watch: Watch

    @property
    def everywhere(self) -> bool:
        return self.change.at.position.whole

    def at_prompts(self, group: Group, lengths: Tensor) -> Edit:
        """The change at the prompts' own tokens. Rows end together: a shorter prompt's begins with
        positions before its own, which nothing reads."""
        if not self.everywhere:
            return self.change.edit(group, self.watch)
        longest = group.longest
        return self._at((lengths - longest)[:, None] + torch.arange(longest))

    def at_new(self, positions: Tensor) -> Edit:
        """The change at one new token of each prompt, (n,)."""
        return self._at(positions[:, None])

    def _at(self, positions: Tensor) -> Edit:
        change = self.change
        value = change.values if isinstance(change.values, Tensor) else change.values[0][:1]
        if not isinstance(change.values, Tensor) and any(bool(one.any()) for one in change.values):
            raise LookupError(f"{change.at} is changed by values of the prompts, at new tokens too")
        expanded = value.expand(*positions.shape, value.shape[-1])
        return change.form(
            change.at.site, positions, expanded, change.basis, change.add, self.watch
        )


def write(
    writer: Writer,
    arms: Sequence[Sequence[InForce]],
    group: Group,
    lengths: Tensor,
    draws: Tensor | None,
    word: GenerateWord,
) -> list[list[list[int]]]:
    """New tokens of every prompt (n) of every arm (A), up to the one that ends a text.

    ``draws`` (n, tokens) are what decides each step; None if nothing is drawn.
    """
    n = len(lengths)
    logits = writer.begin([[one.at_prompts(group, lengths) for one in arm] for arm in arms])
    everywhere = [[one for one in arm if one.everywhere] for arm in arms]
    found: list[list[list[int]]] = [[[] for _ in range(n)] for _ in arms]
    open_ = torch.ones(len(arms), n, dtype=torch.bool)
    for step in range(word.tokens):
        if not bool(logits.isfinite().any(-1).all()) or bool(logits.isnan().any()):
            raise RunFailure(
                f"the model gives no finite logits at new token {step + 1}",
                "steer by less; the activations are too large for the model",
            )
        chosen = choose(logits, None if draws is None else draws[:, step], word)
        for arm, row in open_.nonzero().tolist():
            token = int(chosen[arm, row])
            if token in word.ends:
                open_[arm, row] = False
            else:
                found[arm][row].append(token)
        if step + 1 == word.tokens or not bool(open_.any()):
            break
        positions = lengths + step
        edits = [[one.at_new(positions) for one in arm] for arm in everywhere]
        logits = writer.go_on(chosen, edits)
    return found


def choose(logits: Tensor, draws: Tensor | None, word: GenerateWord) -> Tensor:
    """The next tokens (A, n), on the CPU, for logits (A, n, V) and draws (n,)."""
    if draws is None:
        return logits.argmax(-1).cpu()
    # With the largest at 0: however small the temperature is, no quotient is infinity - infinity.
    scores = logits.cpu().double()
    scores = (scores - scores.max(-1, keepdim=True).values) / word.temperature
    if 0 < word.top_k < scores.shape[-1]:
        least = scores.topk(word.top_k, -1).values[..., -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if word.top_p < 1:
        scores = scores.masked_fill(_unlikely(scores.softmax(-1), word.top_p), -torch.inf)
    up_to = scores.softmax(-1).cumsum(-1)
    wanted = draws[None, :, None] * up_to[..., -1:]
    return torch.searchsorted(up_to, wanted, right=True)[..., 0].clamp_max(logits.shape[-1] - 1)


def _unlikely(chances: Tensor, share: float) -> Tensor:
    """Which tokens are not among the fewest that have this share together."""
    ordered, order = torch.sort(chances, dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(chances, dtype=torch.bool).scatter(-1, order, before >= share)


def draws_of(session: Any, prompts: Sequence[Prompt], word: GenerateWord) -> Tensor | None:
    """What decides each step of each prompt, (n, tokens); None at temperature 0."""
    if word.temperature == 0:
        return None
    rows = []
    for prompt in prompts:
        ids = " ".join(map(str, prompt.ids))
        generator = session.generator(word.seed, "generate", ids)
        rows.append(torch.rand(word.tokens, generator=generator, dtype=torch.float64))
    return torch.stack(rows)
