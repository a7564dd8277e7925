"""The tokenizer of a model folder, as its files configure it.

A ``tokenizer.json`` that holds all special tokens that the other files name is read as it is. What
else there may be (``vocab.json`` and ``merges.txt``, a sentencepiece model, tokens that are added
by ``tokenizer_config.json``) is converted by transformers, once, to such a file in the cache.

Where there is a ``tokenizer.json``, its post-processor alone says which tokens stand before and
behind a text, as in transformers 5: ``add_bos_token`` of the configuration is for other layouts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress
from causaldsl.model.conversion import run_converter
from causaldsl.model.json_files import read_object
from causaldsl.model.manifest import made
from causaldsl.user_cache import cache_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FAST, SETTINGS = "tokenizer.json", "tokenizer_config.json"
SLOW = (
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tiktoken.model",
    "tekken.json",
)
"""What a tokenizer is made from where there is no ``tokenizer.json``."""
FILES = (FAST, SETTINGS, "special_tokens_map.json", "added_tokens.json", *SLOW)
"""All files that ids may depend on."""
_CONVERSION = 1
"""Raised whenever the conversion gives other ids for the same files."""


@dataclass(frozen=True, eq=False)
class TokenizerFiles:
    """A tokenizer that neither truncates nor pads, and what the files around it say of it."""

    folder: Path
    tokenizer: Tokenizer
    settings: Mapping[str, Any]
    """What ``tokenizer_config.json`` says, that of the conversion where there was one."""

    @cached_property
    def bos(self) -> int | None:
        """The id of the token that begins a text, whether or not the tokenizer puts it there."""
        return next(iter(self._ids("bos")), None)

    @cached_property
    def eos(self) -> frozenset[int]:
        """The ids of the tokens that end a text."""
        return frozenset(self._ids("eos"))

    def _ids(self, which: str) -> Iterator[int]:
        """The tokenizer's own, then those of the model's configuration."""
        named = _content(self.settings.get(f"{which}_token"))
        found = None if named is None else self.tokenizer.token_to_id(named)
        if found is not None:
            yield found
        configured = read_json(self.folder / "config.json").get(f"{which}_token_id")
        for one in configured if isinstance(configured, list) else [configured]:
            if isinstance(one, int):
                yield one


def open_files(folder: Path, progress: Progress) -> TokenizerFiles:
    """The tokenizer of a folder; one that is no single file is converted if it was not before.

    Raises :class:`Mistake` if there is none, or it can't be read or converted.
    """
    if not any((folder / name).is_file() for name in (FAST, *SLOW)):
        raise Mistake(
            "no-tokenizer",
            f"{folder} holds no tokenizer",
            "put the model's tokenizer.json there (or its vocab.json and merges.txt, or its "
            "tokenizer.model)",
        )
    if (folder / FAST).is_file():
        found = _read(folder, folder)
        if _is_whole(found):
            return found
    converted = cache_folder() / "models" / f"tokenizer-{_digest(folder)}-v{_CONVERSION}"
    what = f"the tokenizer converted from {folder}"
    made(converted, lambda empty: _convert(folder, empty, progress), what, progress)
    return _read(folder, converted)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file.

    Raises :class:`Mistake` if the file holds anything else.
    """
    try:
        return read_object(path, "unreadable-tokenizer")
    except FileNotFoundError:
        return {}


def _read(folder: Path, place: Path) -> TokenizerFiles:
    from tokenizers import Tokenizer

    settings = _settings(place)
    try:
        tokenizer = Tokenizer.from_file(str(place / FAST))
    except Exception as error:  # tokenizers raises plain Exception
        message = f"cannot read the tokenizer in {folder}: {error}"
        raise Mistake("unreadable-tokenizer", message) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = bool(settings.get("split_special_tokens"))
    return TokenizerFiles(folder, tokenizer, settings)


def _settings(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json``, and where it lists no added tokens, what older files say."""
    settings = read_json(folder / SETTINGS)
    if "added_tokens_decoder" in settings:
        return settings
    return settings | read_json(folder / "special_tokens_map.json")


def _is_whole(found: TokenizerFiles) -> bool:
    """Whether the file by itself gives the ids that transformers gives with the files around it."""
    there = {token.content for token in found.tokenizer.get_added_tokens_decoder().values()}
    named = set(_added(found.settings))
    if "added_tokens_decoder" not in found.settings:
        named |= set(read_json(found.folder / "added_tokens.json"))
    return named <= there


def _added(settings: Mapping[str, Any]) -> Iterator[str]:
    """The texts of all tokens that the settings name as special or as added."""
    values = [value for name, value in settings.items() if name.endswith("_token")]
    for name in ("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens"):
        several = settings.get(name) or ()
        values += several.values() if isinstance(several, dict) else several
    yield from (text for value in values if (text := _content(value)) is not None)


def token_texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """The texts of special tokens by the names that settings give them, such as `bos_token`."""
    found = {name: _content(value) for name, value in settings.items() if name.endswith("_token")}
    return {name: text for name, text in found.items() if text is not None}


def _content(token: Any) -> str | None:
    """The text of a token as settings write it: that text, or an object with its ``content``."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _digest(folder: Path) -> str:
    """Identifies what a conversion depends on: the files, the kind of model, transformers."""
    config = read_json(folder / "config.json")
    kind = {key: config.get(key) for key in ("model_type", "tokenizer_class")}
    digest = hashlib.sha256(json.dumps([kind, version("transformers")]).encode())
    for name in FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _convert(folder: Path, empty: Path, progress: Progress) -> None:
    progress(f"converting the tokenizer in {folder} (once)")
    failed = run_converter("causaldsl.engine.weights.convert_tokenizer", folder, empty)
    if failed is not None:
        raise Mistake(
            "unreadable-tokenizer",
            f"cannot convert the tokenizer in {folder}: {failed}",
            "save it as one file, tokenizer.json, with save_pretrained",
        )
