"""``python -m causaldsl.engine.weights.convert_tokenizer SOURCE FOLDER``: a tokenizer as one file.

transformers reads the tokenizer in SOURCE, whatever its layout. A ``tokenizer.json`` there is kept
as it is but for tokens that the settings add: the classes of some families would build another one.
"""

from __future__ import annotations

import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from causaldsl.engine.weights.converter import command

_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_PROBES = (
    "Then, Mary and John's friends (12 of them) went to the store.",
    "  two spaces,\tan e\u0301 and a \u4e2d\n",
    "a",
)


class Differs(ValueError):
    """One file, or transformers, does not give what it should."""


def convert(source: Path, folder: Path) -> None:
    """Write tokenizer.json, and in tokenizer_config.json what its special tokens are.

    Raises :class:`Differs` if that file would not give the tokenizer's own tokens.
    """
    from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

    readers: list[Any] = [AutoTokenizer]
    if (source / "tokenizer.json").is_file():
        readers = [PreTrainedTokenizerFast]
    elif _sentencepiece(source) is not None:  # whose usual class is not always the one found
        readers = [AutoTokenizer, LlamaTokenizer]
    failed: Differs | None = None
    for reader in readers:
        read = reader.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
        try:
            _write(read, folder)
            _check_pieces(source, folder)
        except Differs as error:
            failed = failed or error
        else:
            return
    assert failed is not None
    raise failed


def _write(read: Any, folder: Path) -> None:
    """A tokenizer of transformers as one file, which has to give the same ids."""
    if not hasattr(read, "backend_tokenizer"):
        raise Differs(f"{type(read).__name__} can't be written as one file")
    read.backend_tokenizer.save(str(folder / "tokenizer.json"))
    special = {name: str(token) for name, token in read.special_tokens_map.items()}
    settings = {**special, "split_special_tokens": bool(read.split_special_tokens)}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    written = _written(folder)
    written.encode_special_tokens = bool(read.split_special_tokens)
    for text in (*_PROBES, *(f"b{token} {token}" for token in special.values())):
        if written.encode(text).ids != list(read(text)["input_ids"]):
            raise Differs(f"{type(read).__name__} does more than one file can say")


def _written(folder: Path) -> Any:
    from tokenizers import Tokenizer

    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    written.no_truncation()
    written.no_padding()
    return written


def _sentencepiece(source: Path) -> Path | None:
    """The sentencepiece model that the tokenizer is made from, if it is made from one."""
    if (source / "tokenizer.json").is_file():
        return None
    return next((source / name for name in _SENTENCEPIECE if (source / name).is_file()), None)


def _check_pieces(source: Path, folder: Path) -> None:
    """A sentencepiece model must cut a text as the sentencepiece library itself does.

    transformers builds some families' tokenizers by their class, whatever the model's file says.
    Pieces are compared, not ids, which some families shift.
    """
    model = _sentencepiece(source)
    if model is None:
        return
    from sentencepiece import SentencePieceProcessor

    own = SentencePieceProcessor(model_file=str(model))
    expected = [own.id_to_piece(piece) for piece in own.encode(_PROBES[0])]
    found = _written(folder).encode(_PROBES[0], add_special_tokens=False).tokens
    if found != expected:
        at = next(i for i, pair in enumerate(zip_longest(found, expected)) if pair[0] != pair[1])
        raise Differs(
            f"transformers cuts {_PROBES[0]!r} into {'|'.join(found[at : at + 4])} where "
            f"{model.name} says {'|'.join(expected[at : at + 4])}"
        )


def main(arguments: list[str]) -> int:
    """Run the conversion as a command."""
    return command("causaldsl.engine.weights.convert_tokenizer", "SOURCE", convert, arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
