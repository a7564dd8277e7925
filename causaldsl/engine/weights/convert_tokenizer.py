"""``python -m causaldsl.engine.weights.convert_tokenizer SOURCE FOLDER``: a tokenizer as one file.

transformers reads the tokenizer in SOURCE, whatever its layout. A ``tokenizer.json`` there is kept
as it is but for tokens that the settings add: the classes of some families would build another one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_PROBES = (
    "Then, Mary and John's friends (12 of them) went to the store.",
    "  two spaces,\tan e\u0301 and a \u4e2d\n",
    "a",
)


def convert(source: Path, folder: Path) -> None:
    """Write tokenizer.json, and in tokenizer_config.json what its special tokens are.

    Raises ValueError if the file alone does not give what transformers gives.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    whole = (source / "tokenizer.json").is_file()
    reader: Any = PreTrainedTokenizerFast if whole else AutoTokenizer
    read = reader.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
    if not hasattr(read, "backend_tokenizer"):
        raise ValueError(f"{type(read).__name__} can't be written as one file")
    read.backend_tokenizer.save(str(folder / "tokenizer.json"))
    special = {name: str(token) for name, token in read.special_tokens_map.items()}
    settings = {**special, "split_special_tokens": bool(read.split_special_tokens)}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")

    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    written.no_truncation()
    written.no_padding()
    written.encode_special_tokens = bool(read.split_special_tokens)
    for text in (*_PROBES, *(f"b{token} {token}" for token in special.values())):
        if written.encode(text).ids != list(read(text)["input_ids"]):
            raise ValueError(f"{type(read).__name__} does more than one file can say")


def main(arguments: list[str]) -> int:
    """Run the conversion; a failure becomes one line on stderr and exit status 1."""
    if len(arguments) != 2:
        module = "causaldsl.engine.weights.convert_tokenizer"
        print(f"usage: python -m {module} SOURCE FOLDER", file=sys.stderr)
        return 2
    source, folder = (Path(argument).absolute() for argument in arguments)
    try:
        convert(source, folder)
    except Exception as error:  # whatever transformers raises has to fit into the parent's message
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
