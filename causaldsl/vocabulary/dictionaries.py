"""Dictionaries of features: where their files are, and their features as directions and sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from causaldsl.vocabulary.base import SIDES, Maker, Operand, OperandMistake, Pure, Word
from causaldsl.vocabulary.register import function, maker
from causaldsl.vocabulary.types import (
    DictionaryType,
    MatrixType,
    NumberType,
    SubspaceType,
)
from causaldsl.vocabulary.widths import site_width

_OF = Operand("of", "dictionary")
_SITE = Operand("site", "features")
_ON = Operand("on", "pairs", keyword=True)


@maker
class Sae(Maker):
    """A sparse autoencoder from a folder, or by its SAELens release or hub name and `id`.

    Folders of SAELens, Sparsify and dictionary_learning are read. What is named by a release must
    be in the hub's cache already. `scale` is a number that activations were multiplied by in
    training, where it is not in the weights. `trained_on` repeats the name of a model in the files
    that is another one than the program's, to use it all the same.
    """

    word = "sae"
    gives = DictionaryType()
    operands = (Operand("folder", "text"),)
    example = 'sae("FOLDER") at resid_post[8]'
    id: str | None = None
    scale: float | None = Field(None, gt=0)
    trained_on: str | None = None


@maker
class Transcoder(Sae):
    """A transcoder: features of what an MLP reads, which write what it puts out.

    It is named as a sparse autoencoder is.
    """

    word = "transcoder"
    example = 'transcoder("FOLDER") at mlp_in[8] -> mlp_out[8]'


class DictionaryWord(Pure):
    """A dictionary's weights."""

    word = "dictionary"
    dictionary: Any
    """As the program has it (``model/dictionaries/form.py``)."""

    def identity(self) -> dict[str, Any]:
        """What is in the files, not where they lie, and not what it is called."""
        found = self.dictionary
        return {"digest": found.digest, "reads": found.reads, "writes": found.writes}


@function
class Feature(Pure):
    """The direction that a feature writes: its row of the decoder, with its own length.

    `norm` gives that length; patching and steering along it use the direction alone.
    """

    word = "feature"
    example = "feature(f, 12)"
    operands = (_OF, Operand("number", "feature"))
    computed = ("number",)
    number: int = 0

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        of: DictionaryType = types["of"]
        check_number("number", self.number, of.features)
        return SubspaceType(of.out, 1)


@function
class Encoded(Pure):
    """The direction that a feature reads: its column of the encoder, with its own length."""

    word = "encoded"
    example = "encoded(f, 12)"
    operands = (_OF, Operand("number", "feature"))
    computed = ("number",)
    number: int = 0

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        of: DictionaryType = types["of"]
        check_number("number", self.number, of.features)
        return SubspaceType(of.width, 1)


@function
class Decoder(Pure):
    """The decoder of a dictionary as a matrix: `few * decoder(f)` is what some features write."""

    word = "decoder"
    example = "few * decoder(f)"
    operands = (_OF,)

    def result(self, types: Mapping[str, Any]) -> MatrixType:
        return MatrixType(types["of"].features, types["of"].out)


@function
class BestFeatures(Word):
    """The span, among all features, of the k that should matter most between base and source.

    `by: attribution` ranks them by the size of the mean over the pairs of their change times the
    gradient of `logit_diff` in the base run, `by: difference` by that of their mean change.
    `after: r` leaves out the r that come first. It proposes features; what they do is measured by
    patching `f.features` along it.
    """

    word = "best_features"
    example = "best_features(f.features @ END, k: 3, on: PAIRS)"
    runs = "gradients"
    sides = SIDES
    operands = (_SITE, _ON)
    k: int = Field(ge=1, le=10_000)
    by: Literal["attribution", "difference"] = "attribution"
    after: int = Field(0, ge=0)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        if self.k + self.after > width:
            raise OperandMistake(
                "site",
                "feature-range",
                f"there are {width} features at this site, not {self.k + self.after}",
                f"choose at most {width}",
            )
        return SubspaceType(width, self.k)

    def aligned(self) -> bool:
        return True


@function
class Explained(Word):
    """The share of the variance of activations that a dictionary's reconstruction explains.

    Of the bases of pairs, at the positions of its features: 1 - |x - x'|^2 over |x - mean x|^2.
    """

    word = "variance_explained"
    example = "variance_explained(f.features @ END, on: PAIRS)"
    runs = "reads"
    sides = ("base",)
    gives = NumberType()
    quantity = "variance explained"
    of_all: ClassVar[bool] = True
    """Whether it is a number of the whole dictionary."""
    operands = (_SITE, Operand("on", "prompts", keyword=True))


@function
class Active(Word):
    """How many of these features are above zero, on the average over bases and positions."""

    word = "active_features"
    example = "active_features(f.features @ END, on: PAIRS)"
    runs = "reads"
    sides = ("base",)
    gives = NumberType()
    quantity = "active features"
    operands = (_SITE, Operand("on", "prompts", keyword=True))


def check_number(operand: str, number: int, count: int) -> None:
    """Raise unless a dictionary of so many features has this one."""
    if not 0 <= number < count:
        raise OperandMistake(
            operand,
            "feature-range",
            f"there is no feature {number}",
            f"its features are 0 to {count - 1}",
        )
