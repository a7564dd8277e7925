"""A model that is in memory already, with its tokenizer, as a folder that a program can name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.weights.bridge import quiet
from causaldsl.engine.weights.known_answers import probe_tokens, runnable

_WAY = (
    "give a model of transformers and its tokenizer, (model, tokenizer), or something that has both"
)
_CLOSE, _CLOSE_HALF = 1e-3, 0.05
"""How far logits may differ, as a share of the largest."""


@contextmanager
def in_folder(given: Any) -> Iterator[Path]:
    """The folder of a model as it is now, until the end of the block; the model stays as it was.

    ``given`` is a model of transformers and its tokenizer, or one object that has both, as a
    pipeline or a trainer. What is read back from the folder has to give the model's own logits:
    what is not in its weights, such as hooks or an adapter, would be lost.

    Raises:
        Mistake: if it is no such model, or not the same in the folder.
        RunFailure: if it can't be written.
    """
    model, tokenizer = _both(given)
    with TemporaryDirectory(prefix="causaldsl-") as place:
        folder = Path(place) / f"{Path(str(model.config.name_or_path)).name or 'model'}-in-memory"
        try:
            with quiet():
                model.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        except OSError as error:
            raise RunFailure(f"the model can't be written to {folder}: {error}") from None
        _check_same(model, folder)
        yield folder


def _both(given: Any) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if isinstance(given, tuple) and len(given) == 2:
        model, tokenizer = given
    else:
        model = getattr(given, "model", given)
        tokenizer = getattr(given, "tokenizer", getattr(given, "processing_class", None))
    if not isinstance(model, PreTrainedModel):
        name = type(model).__name__
        more = ""
        if hasattr(model, "merge_and_unload"):
            more = "; model.merge_and_unload() puts an adapter into the weights"
        elif name in ("TransformerBridge", "HookedTransformer"):
            more = "; or name it as it was loaded: model lm = ..."
        raise Mistake("not-a-model", f"a {name} is no model of transformers", _WAY + more)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        message = f"a {type(model).__name__} comes with no tokenizer"
        raise Mistake("not-a-model", message, _WAY)
    return model, tokenizer


@torch.no_grad()
def _check_same(model: Any, folder: Path) -> None:
    """Raises :class:`Mistake` unless what is in the folder gives the model's own logits."""
    from transformers import AutoModelForCausalLM

    tokens = probe_tokens(model.config.get_text_config().vocab_size, model.device)
    training = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        with quiet(), runnable():
            wanted = model(tokens).logits[:, -1].float()
            read = AutoModelForCausalLM.from_pretrained(
                folder, dtype=model.dtype, attn_implementation=model.config._attn_implementation
            )
            found = read.to(model.device).eval()(tokens).logits[:, -1].float()
    finally:
        for part, was in training:
            part.training = was
    half = model.dtype in (torch.bfloat16, torch.float16)
    error = float((found - wanted).abs().max())
    if not error <= (_CLOSE_HALF if half else _CLOSE) * max(1.0, float(wanted.abs().max())):
        raise Mistake(
            "not-a-model",
            f"this {type(model).__name__} is more than its weights: without its hooks and what "
            f"else was put into it, its logits are {error:.2g} apart",
            "take hooks off it first, and merge adapters into the weights",
        )
