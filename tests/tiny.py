"""Tiny random models in Hugging Face folders, for tests.

``tiny_folder(tmp_path, family)`` writes config.json, model.safetensors and tokenizer.json. Every
model has 4 layers, width 32 and 4 heads of 8. Weights are seeded and large enough that attention is
far from uniform; norms and biases are random too, so that forgetting one shows.

=======  ==========================================================================
llama    grouped-query attention (2 key-value heads), RMS norm, gated MLP, a BOS token
gpt2     layer norm, plain MLP, Conv1D weights, learned positions, tied embeddings
qwen2    as llama without BOS, with biases on q, k and v, tied embeddings
neox     layer norm, attention and MLP in parallel, partly rotary
=======  ==========================================================================

The tokenizer is byte-level: a word of ``WORDS`` is one token, with or without a space before it
(the space belongs to the token); anything else falls apart into bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig, PreTrainedModel

Family = Literal["llama", "gpt2", "qwen2", "neox"]
FAMILIES: tuple[Family, ...] = ("llama", "gpt2", "qwen2", "neox")

_NAMES = """
Mary John Tom James Dan Sid Martin Amy Kate Anna Paul Mark Luke Sarah Laura Emma Jack Peter Alice
Bob Carol David Eve Frank Grace Henry Irene Julia Kevin Linda Michael Nancy Oscar Rachel Robert
Susan Victor Wendy William Zoe
"""
_PLACES = "school store park house office station garden hospital restaurant market"
_OBJECTS = "ring kiss bone basketball computer necklace drink snack book apple"
_OTHERS = """
Then Afterwards When After While The A I It He She They and or but had have has a an the to at in on
of for with from by went gave give said say told decided working long really crazy argument lots fun
were was is are be been being do does did not no yes one two three four five six seven eight nine
ten first last day night week year time way man woman boy girl child friend dog cat red blue green
black white big small old new good bad best who what where why how this that these those his her
their its my your our me him them us you we he she they if so as up down out over under again more
most some any all each few many much very just now here there only also
"""
NAMES, PLACES, OBJECTS = _NAMES.split(), _PLACES.split(), _OBJECTS.split()
WORDS = [*NAMES, *PLACES, *OBJECTS, *_OTHERS.split()]

WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN, LAYERS, CONTEXT = 32, 4, 2, 8, 48, 4, 64


def tiny_folder(
    tmp_path: Path,
    family: Family,
    seed: int = 0,
    words: Sequence[str] | None = None,
    hidden: int | None = None,
) -> Path:
    """A folder ``tmp_path/tiny-<family>`` with a random float32 model and its tokenizer.

    ``words`` are tokens of it (else ``WORDS``); ``hidden`` is the number of neurons of an MLP.
    """
    folder = Path(tmp_path) / f"tiny-{family}"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(bos=family == "llama", words=words)
    tokenizer.save(str(folder / "tokenizer.json"))
    # Without this, AutoTokenizer builds the family's own pre-tokenizer around our vocabulary.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = tiny_model(family, tokenizer.get_vocab_size(), seed, hidden or HIDDEN)
    model.save_pretrained(folder)
    return folder


def deep_folder(tmp_path: Path, words: Sequence[str], seed: int = 0) -> Path:
    """A folder ``tmp_path/deep`` with a random model of SmolLM2-135M's layout, but narrow.

    30 layers, 9 heads, 3 key-value heads and 1536 neurons as there, of width 36 and 4 a head; so
    whatever a program says of that model's layers and heads is there.
    """
    from transformers import LlamaConfig

    folder = Path(tmp_path) / "deep"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(words=words)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=36,
        head_dim=4,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    _random(config, seed, lambda shape: 0.8 * shape[1] ** -0.5).save_pretrained(folder)
    return folder


def tiny_tokenizer(bos: bool = False, words: Sequence[str] | None = None) -> Tokenizer:
    """Byte-level, a token for each of ``words`` (``WORDS``) and for each of them after a space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = list(dict.fromkeys(WORDS if words is None else words))
    wanted = ["<s>", *alphabet, *words, *("Ġ" + word for word in words)]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(wanted))}
    # Without merges: a piece is looked up whole, and else taken byte by byte.
    tokenizer = Tokenizer(models.BPE(vocab, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
        )
    return tokenizer


def tiny_model(
    family: Family, d_vocab: int, seed: int = 0, hidden: int = HIDDEN
) -> PreTrainedModel:
    """The random model alone, in evaluation mode."""
    return _random(_config(family, d_vocab, hidden), seed, lambda shape: 1.5 * WIDTH**-0.5)


def _random(
    config: PreTrainedConfig, seed: int, size: Callable[[Sequence[int]], float]
) -> PreTrainedModel:
    """A model with random weights; ``size`` is the standard deviation in a matrix of a shape."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                is_scale = name.endswith("weight")
                parameter.copy_(0.2 * noise + (1.0 if is_scale else 0.0))
            else:
                is_embedding = any(part in name for part in ("embed", "wte", "wpe"))
                parameter.copy_(noise * (1.0 if is_embedding else size(parameter.shape)))
    return model.eval()


def _config(family: Family, d_vocab: int, hidden: int) -> PreTrainedConfig:
    from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, Qwen2Config

    if family == "gpt2":
        return GPT2Config(
            vocab_size=d_vocab,
            n_positions=CONTEXT,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_inner=hidden,
            bos_token_id=0,
            eos_token_id=0,
        )
    common = {
        "vocab_size": d_vocab,
        "hidden_size": WIDTH,
        "intermediate_size": hidden,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if family == "llama":
        return LlamaConfig(**common, num_key_value_heads=KV_HEADS)
    if family == "qwen2":
        return Qwen2Config(**common, num_key_value_heads=KV_HEADS, tie_word_embeddings=True)
    return GPTNeoXConfig(**common, use_parallel_residual=True)
