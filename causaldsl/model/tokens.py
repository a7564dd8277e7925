"""A model's tokenizer: text to token ids, and back to places in the text.

Offsets are characters of the text. Byte-level and sentencepiece tokens swallow the space before a
word; here that space never belongs to the token's offsets: in "Mary and", the token " and" has the
offsets (5, 8), whatever the tokenizer file itself says. A token of nothing but white space keeps
its offsets. Tokens that the model's convention adds (such as a beginning-of-sequence token) have
the empty offsets (0, 0). When one character is cut into several tokens, each has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.diagnostics import Mistake

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SENTENCEPIECE_SPACE = "\u2581"


@dataclass(frozen=True)
class Encoded:
    """Token ids, and for each the characters (start, end) of the text that it stands for."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)


class Tokens:
    """The tokenizer of one model, with that model's own convention for special tokens."""

    def __init__(self, tokenizer: Tokenizer):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self._adds_space = _adds_space(tokenizer)
        self._byte_level = type(tokenizer.decoder).__name__ == "ByteLevel"

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """The tokenizer in a folder: ``tokenizer.json``, or GPT-2's ``vocab.json``, ``merges.txt``.

        Raises :class:`Mistake` if neither is there or the file can't be read.
        """
        path = folder / "tokenizer.json"
        old = folder / "vocab.json", folder / "merges.txt"
        try:
            if path.is_file():
                from tokenizers import Tokenizer

                return cls(Tokenizer.from_file(str(path)))
            if all(file.is_file() for file in old):
                return cls(_from_vocab_and_merges(*old))
        except Exception as error:  # tokenizers raises plain Exception
            raise Mistake(
                "unreadable-tokenizer", f"cannot read the tokenizer in {folder}: {error}"
            ) from error
        raise Mistake(
            "no-tokenizer",
            f"{folder} holds no tokenizer",
            "put the model's tokenizer.json there (or its vocab.json and merges.txt)",
        )

    def encode(self, text: str) -> Encoded:
        """The ids that the model is given for a text, special tokens of its convention included."""
        encoding = self.tokenizer.encode(text)
        offsets = tuple(_without_space(text, start, end) for start, end in encoding.offsets)
        return Encoded(tuple(encoding.ids), offsets)

    def single(self, text: str) -> int | None:
        """The id of a text that is exactly one token, without special tokens; else None.

        " Mary" asks for the token inside a sentence, "Mary" for the one at the start of a text.
        A tokenizer that sets a space before every text gives both the same answer. The token for
        unknown words is no answer.
        """
        if self._adds_space and text.startswith(" "):
            text = text[1:]
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        if len(encoding.ids) != 1 or encoding.ids[0] == self._unknown:
            return None
        return int(encoding.ids[0])

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text as one reads them, with their spaces: ``["Mary", " and"]``."""
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return [self.piece(token) for token in encoded.ids]

    def piece(self, token: int) -> str:
        """One token as one reads it; a part of a character stays in the tokenizer's spelling."""
        spelled = self.tokenizer.id_to_token(token)
        if spelled is None:
            return f"<{token}>"  # vocabularies are often padded beyond the tokenizer's
        if not self._byte_level:
            return spelled.replace(_SENTENCEPIECE_SPACE, " ")
        plain = self.tokenizer.decode([token], skip_special_tokens=False)
        return spelled if "\ufffd" in plain else plain

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids, special tokens written out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    @property
    def _unknown(self) -> int | None:
        name = getattr(self.tokenizer.model, "unk_token", None)
        return self.tokenizer.token_to_id(name) if name else None


def last_token_before(offsets: Sequence[tuple[int, int]], end: int) -> int:
    """The token in which the text up to character ``end`` ends. Special tokens cover no text."""
    backwards = range(len(offsets) - 1, -1, -1)
    return next(i for i in backwards if offsets[i][0] < min(offsets[i][1], end))


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    """The range less the white space at its ends, unless there is nothing else in it."""
    inside = text[start:end]
    if not inside.strip():
        return start, end
    return start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())


def _adds_space(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer sets a space before a text that begins with a word."""
    text = tokenizer.normalizer.normalize_str("a") if tokenizer.normalizer else "a"
    if tokenizer.pre_tokenizer:
        text = "".join(piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return text.startswith((_SENTENCEPIECE_SPACE, "Ġ", " "))


def _from_vocab_and_merges(vocab: Path, merges: Path) -> Tokenizer:
    """GPT-2's byte-level BPE from the two files of its first release."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    if tokenizer.token_to_id("<|endoftext|>") is not None:
        tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer
