"""Random models of real shapes, which need no network and no weights: as slow as the real ones.

``random_model`` writes a configuration and a tokenizer that has every word of the benchmarks'
prompts as one token; the weights are made in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from common import NAMES

from causaldsl.engine.weights.load import Loaded
from causaldsl.model.catalog import resolve

PYTHIA, GEMMA, QWEN = "pythia-160m", "gemma-2-2b-8-layers", "qwen3-0.6b"
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    PYTHIA: (
        "GPTNeoXConfig",
        {
            "vocab_size": 50304,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.25,
            },
            "use_parallel_residual": True,
            "tie_word_embeddings": False,
        },
    ),
    GEMMA: (
        "Gemma2Config",
        {
            "vocab_size": 256000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
        },
    ),
    QWEN: (
        "Qwen3Config",
        {
            "vocab_size": 151936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
    ),
}
"""Configurations of transformers; Gemma 2 with 8 of its 26 layers."""
_SMALL = {
    "vocab_size": 2048,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
_SMALL_HEADS = {"num_key_value_heads": 2, "head_dim": 8}
"""The same families, to try the scripts."""


def random_model(name: str, into: Path, real: bool = True) -> Loaded:
    """A model with random weights; its folder is ``into / name``."""
    import transformers

    config_class, settings = SHAPES[name]
    if not real:
        settings = settings | _SMALL | (_SMALL_HEADS if "head_dim" in settings else {})
    config = getattr(transformers, config_class)(**settings, bos_token_id=0, eos_token_id=0)
    folder = into / name
    config.save_pretrained(folder)
    tokenizer(config.vocab_size).save(str(folder / "tokenizer.json"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=0.8 * parameter.shape[1] ** -0.5)
    spec = resolve(str(folder), Path.cwd())
    loaded = Loaded(spec, ("cpu",), torch.float32)
    loaded.source = module.eval().requires_grad_(False)
    return loaded


def tokenizer(size: int) -> Any:
    """Every word of the benchmarks' prompts is a token, with and without a space before it."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [*NAMES.read_text().split(), "Then", "When", "Afterwards", "and", "had", "a", "long"]
    words += ["really", "crazy", "argument", "said", "to", "met", ",", "."]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = dict.fromkeys(["<s>", *alphabet, *words, *(f"Ġ{word}" for word in words)])
    assert len(tokens) <= size
    made = Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True)
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made
