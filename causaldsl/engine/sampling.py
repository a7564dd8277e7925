"""Texts that the model writes itself, at temperature 1 from the whole vocabulary.

Token t is drawn from softmax(logits of tokens before t). The first one is the model's beginning of
a text, or, where it has none, drawn evenly from the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.check.pairs import Prompt, PromptSet, prompt_set
from causaldsl.engine.backend import Backend, Edits
from causaldsl.engine.exact import exact
from causaldsl.engine.session import Session
from causaldsl.model.tokens import Tokens

_AT_ONCE = 64


def sample_texts(session: Session, wanted: PromptSet) -> PromptSet:
    """The texts of a sample as prompts, the same for the same model and seed."""
    sample, spec = wanted.sample, session.loaded.spec
    assert sample is not None
    assert spec.path is not None
    tokens = Tokens.load(spec.path, spec.bos)
    generator = session.generator(sample.seed, "sample")
    parts = []
    for begin in range(0, sample.count, _AT_ONCE):
        session.progress(f"writing {wanted.name}", begin, sample.count)
        rows = min(_AT_ONCE, sample.count - begin)
        parts.append(
            _write(session, _first(session, tokens, rows, generator), sample.length, generator)
        )
    texts = torch.cat(parts).tolist()
    prompts = [Prompt(tokens.decode(ids), tuple(ids)) for ids in texts]
    return prompt_set(wanted.name, prompts, written=True)


def _first(session: Session, tokens: Tokens, rows: int, generator: torch.Generator) -> Tensor:
    """The first token (rows, 1) of every text. A program can rule out that it is BOS."""
    start = next(iter(tokens.begins), None)
    if start is None and session.loaded.spec.bos is None:
        start = getattr(session.loaded.config, "bos_token_id", None)
    if start is None:
        return torch.randint(session.loaded.spec.shapes.d_vocab, (rows, 1), generator=generator)
    return torch.full((rows, 1), start)


@torch.no_grad()
def _write(session: Session, first: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Texts (rows, length), a token at a time; keys and values of earlier ones are kept."""
    written = [first]
    lengths = torch.ones(len(first), dtype=torch.long)
    writer = _backend(session).writer(first.to(session.loaded.device), lengths, length)
    with exact(session.loaded.dtype):
        for _ in range(length - 1):
            unchanged: Edits = [()]
            more = len(written) > 1
            logits = writer.go_on(written[-1].T, unchanged) if more else writer.begin(unchanged)
            chances = torch.softmax(logits[0].cpu().double(), -1)
            written.append(torch.multinomial(chances, 1, generator=generator))
    return torch.cat(written, 1)


def _backend(session: Session) -> Backend:
    """The preferred one, or hooks for a model that only they run."""
    try:
        return session.backends[session.settings.backend]
    except KeyError:
        return session.backends["hooks"]
