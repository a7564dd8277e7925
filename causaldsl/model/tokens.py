"""A model's tokenizer: text to token ids, and back to places in the text.

Offsets are characters of the text. Byte-level and sentencepiece tokens swallow the space before a
word; here that space never belongs to the token's offsets: in "Mary and", the token " and" has the
offsets (5, 8), whatever the tokenizer file itself says. A token of nothing but white space keeps
its offsets. Tokens that the model's convention adds (such as a beginning-of-sequence token) have
the empty offsets (0, 0). When one character is cut into several tokens, each has all of it.

BOS is what stands before every text: what the tokenizer puts there by itself, or, where the program
says ``bos yes``, the token that its files name. With ``bos no`` nothing stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress
from causaldsl.model.chat import Frame
from causaldsl.model.tokenizer_files import open_files, read_json

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

    def __init__(
        self,
        tokenizer: Tokenizer,
        bos: int | None = None,
        eos: frozenset[int] = frozenset(),
        wanted: bool | None = None,
        configured: bool | None = None,
    ):
        """``bos`` and ``eos`` begin and end a text, as the model's files have it.

        ``wanted`` is what the program says of BOS, ``configured`` what ``add_bos_token`` says.

        Raises:
            Mistake: if BOS is wanted and there is none.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.bos, self.eos = bos, eos
        self._adds_space = _adds_space(tokenizer)
        self._byte_level = type(tokenizer.decoder).__name__ == "ByteLevel"
        self._own = _before_a_text(tokenizer)
        self._wanted, self._configured = wanted, configured
        self._folder: Path | None = None
        self.frame: Frame | None = None
        """What is put around every text, if anything."""
        self.begins = self._begins()

    @classmethod
    def load(
        cls, folder: Path, bos: bool | None = None, progress: Progress | None = None
    ) -> Tokens:
        """The tokenizer of a model folder, in whatever layout; ``bos`` is what the program says.

        Raises :class:`Mistake` if there is none or it can't be read.
        """
        files = open_files(folder, progress or (lambda message: None))
        configured = files.settings.get("add_bos_token")
        found = cls(files.tokenizer, files.bos, files.eos, bos, configured)
        found._folder = folder
        return found

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text that is written: the tokenizer's, the model's, and those
        that its folder names for generation.

        Raises :class:`Mistake` if ``generation_config.json`` can't be read.
        """
        if self._folder is None:
            return self.eos
        named = read_json(self._folder / "generation_config.json").get("eos_token_id")
        several = named if isinstance(named, list) else [named]
        return self.eos | {one for one in several if isinstance(one, int)}

    def framed(self, frame: str | None) -> Tokens:
        """The same tokens for texts in a frame: `chat` is the model's chat template.

        Raises :class:`Mistake` if the model has none, or the program says of BOS what this decides.
        """
        if frame is None:
            return self
        if self._wanted is not None:
            raise Mistake(
                "frame-and-bos",
                "the chat template says itself what stands before a text",
                "take `bos` out of the model's options",
            )
        assert self._folder is not None
        found = copy(self)
        found.frame = Frame.of_folder(self._folder)
        return found

    def _begins(self) -> tuple[int, ...]:
        """The tokens before every text."""
        if self._wanted is None or (self._wanted and self._own):
            return self._own
        if self._wanted and self.bos is None:
            raise Mistake(
                "no-bos",
                "the model's tokenizer names no token that begins a text",
                "leave out `bos yes`, or name its `bos_token` in tokenizer_config.json",
            )
        return (self.bos,) if self._wanted and self.bos is not None else ()

    @property
    def about_bos(self) -> str:
        """What stands before every text, and who put it there."""
        if self.begins:
            who = "by the tokenizer" if self._own else "by `bos yes`: the tokenizer puts none there"
            return f"{self._spelled(self.begins)} is put before every text {who}"
        if self._own:
            return f"{self._spelled(self._own)}, the tokenizer's, is left out by `bos no`"
        return "the tokenizer puts no BOS before the texts"

    @property
    def doubt(self) -> str | None:
        """What the files say of BOS that the tokenizer does not do, unless the program decides."""
        if self._wanted is not None or self._configured in (None, bool(self._own)):
            return None
        does = f"puts {self._spelled(self._own)} before every text" if self._own else "puts none"
        return (
            f"tokenizer_config.json says `add_bos_token: {str(self._configured).lower()}`, but "
            f"tokenizer.json {does}"
        )

    def _spelled(self, ids: Sequence[int]) -> str:
        return " ".join(f"`{self.piece(token)}`" for token in ids)

    def encode(self, text: str, then: str = "") -> Encoded:
        """The ids that the model is given for a text, special tokens of its convention included.

        ``then`` goes on from there; of a frame, from its end. Its tokens have offsets behind the
        text, or none in a frame.
        """
        if self.frame is not None:
            return self._in_frame(self.frame, text, then)
        text += then
        encoding = self.tokenizer.encode(text)
        count = len(self._own)
        spans = encoding.offsets[count:]
        offsets = [_without_space(text, start, end) for start, end in spans]
        before = [(0, 0)] * len(self.begins)
        return Encoded((*self.begins, *encoding.ids[count:]), (*before, *offsets))

    def goes_on(self, text: str, ids: Sequence[float], then: str, more: Sequence[int]) -> bool:
        """Whether ``more`` are the tokens of what goes on from a text with its ``ids``."""
        return self.encode(text, then).ids == (*ids, *more)

    def _in_frame(self, frame: Frame, text: str, then: str) -> Encoded:
        """Only tokens that have some of the text have offsets."""
        before, behind = frame.around(text)
        encoding = self.tokenizer.encode(before + text + behind + then, add_special_tokens=False)
        offsets = []
        for start, end in encoding.offsets:
            start, end = max(start - len(before), 0), min(end - len(before), len(text))
            offsets.append(_without_space(text, start, end) if start < end else (0, 0))
        return Encoded(tuple(encoding.ids), tuple(offsets))

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

    def continuation(self, text: str) -> tuple[int, ...]:
        """The ids of a text that goes on from another one, such as " New York".

        A tokenizer that sets a space before every text does not get a second one.
        """
        if self._adds_space and text.startswith(" "):
            text = text[1:]
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

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


def _before_a_text(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that a tokenizer puts before a text by itself."""
    encoding = tokenizer.encode("a")
    count = next((i for i, special in enumerate(encoding.special_tokens_mask) if not special), 0)
    return tuple(encoding.ids[:count])
