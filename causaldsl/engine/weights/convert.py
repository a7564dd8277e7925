"""``python -m causaldsl.engine.weights.convert GGUF FOLDER``: a GGUF file as a Hugging Face folder.

transformers reads the GGUF (and undoes llama.cpp's permutation of the query and key rows). The
weights are de-quantized to float32, which is what llama.cpp's own reference de-quantization gives.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import gguf

from causaldsl.engine.weights.converter import command


def convert(source: Path, folder: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.json of ``source`` into ``folder``."""
    _read_only_once()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    model: Any = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    )
    # It counts as quantized, and transformers refuses to save such a model.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)

    tokenizer = AutoTokenizer.from_pretrained(
        **where, local_files_only=True, trust_remote_code=False
    )
    _split_as_trained(tokenizer.backend_tokenizer, _text_field(source, "tokenizer.ggml.pre"))
    tokenizer.save_pretrained(folder)
    _name_source(source, folder)


def _read_only_once() -> None:
    """Read the GGUF's tables once instead of three times, and map its names once, not 400 times.

    transformers takes both functions from the ``gguf`` package anew at every use. This is a process
    of its own, so nobody else sees the change; without it the conversion takes twice as long.
    """
    patched: Any = gguf
    patched.GGUFReader = functools.cache(gguf.GGUFReader)
    patched.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)


def _split_as_trained(tokenizer: Any, splitting: str) -> None:
    """Give the tokenizer the pre-tokenizer that the GGUF names, where transformers does not."""
    from tokenizers import pre_tokenizers

    if splitting != "smollm":
        return
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _text_field(source: Path, name: str) -> str:
    """A text in the GGUF's metadata, or the empty text."""
    field = gguf.GGUFReader(str(source)).fields.get(name)
    return str(field.contents()) if field else ""


def _name_source(source: Path, folder: Path) -> None:
    """Leave a note of where the folder came from."""
    import transformers

    note = {"converted_from": source.name, "transformers": transformers.__version__}
    (folder / "source.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run the conversion as a command."""
    return command("causaldsl.engine.weights.convert", "GGUF", convert, arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
