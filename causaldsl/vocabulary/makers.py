"""Words that make data, or a site outside the site table, before anything runs.

A maker's options are checked like any other word's; what it makes is worked out by the function
that is registered for it in ``causaldsl/check/makers/``. A :class:`Reader` needs none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import Maker, Operand
from causaldsl.vocabulary.register import maker
from causaldsl.vocabulary.types import LexiconType, PairsType, PromptsType, SiteType

MOST_PROMPTS = 20000
_ONE_OBJECT = (
    'write one object a line: {"base": ..., "source": ..., "answer": ..., "foil": ...}; '
    'other files (CSV, Parquet) are read by `dataset("FILE")`'
)


@maker
class Words(Maker):
    """A list of words, from a file (one a line) or a list of texts.

    Each must be one token after a space, so that it can be an answer. Those that are several tokens
    in this model are left out, and a warning names them.
    """

    word = "words"
    gives = LexiconType()
    on_text = True
    operands = (Operand("list", "texts"),)
    example = 'words("file.txt")'
    one_token: ClassVar[bool] = True


@maker
class Phrases(Words):
    """Words that are never answers, and so may be several tokens, from a file or a list."""

    word = "phrases"
    example = 'phrases("file.txt")'
    one_token = False


@maker
class Table(Maker):
    """Words with other words beside them: the first column of a file, and its other columns.

    The file is CSV or TSV with a header, or JSON. `{X}` in a template is the first column and
    `{X.capital}` the one of that name; only what is an answer must be one token.
    """

    word = "table"
    gives = LexiconType()
    on_text = True
    operands = (Operand("file", "path"),)
    example = 'table("capitals.tsv")'


@maker
class Corpus(Maker):
    """Prompts without answers: the lines of a file, or a list of texts."""

    word = "corpus"
    gives = PromptsType()
    on_text = True
    operands = (Operand("list", "texts"),)
    example = 'corpus("file.txt")'


@maker
class Sample(Maker):
    """Prompts without answers: `n` texts of `length` tokens that the model itself writes.

    They are drawn at temperature 1, from its beginning-of-text token on.
    """

    word = "sample"
    gives = PromptsType()
    on_text = True
    operands = (Operand("model", "model"),)
    example = "sample(lm, n: 200, length: 32, seed: 0)"
    n: int = Field(200, ge=4, le=MOST_PROMPTS)
    length: int = Field(32, ge=2)
    seed: int = Field(0, ge=0, lt=2**31)


@maker
class Numbers(Maker):
    """Pairs of input values for a toy model."""

    word = "numbers"
    gives = PairsType()
    example = "numbers(base: [1, 2], source: [3, 4])"
    operands = (
        Operand("base", "values", keyword=True),
        Operand("source", "values", keyword=True),
    )


class RowMistake(Mistake):
    """A mistake in one row of a file. The message goes on after the row's place."""


class Reader(Maker):
    """Reads pairs from a file. A subclass with ``rows`` and the decorator ``maker`` is a format.

    `train` is the share of units that goes to `.train`, by a seeded shuffle, where the file itself
    does not say which rows do; pairs that share a prompt or a cluster are one unit.
    """

    gives = PairsType()
    on_text = True
    operands = (Operand("file", "path"),)
    train: float | None = Field(None, gt=0, lt=1)

    row: ClassVar[str] = "row"
    """What messages call a row, which they count from 1."""
    form: ClassVar[str] = "write a row for each pair"
    """What messages say of how to write such a file."""

    def rows(self, path: Path) -> Iterable[Mapping[str, Any] | None]:
        """The file's rows in order, None for one that is blank.

        Texts `base`, `source`, `answer`, `foil`; and optionally `counterfactual_answer`, `split`
        (`train` or `test`), `positions`, `class`, `template` and `cluster`, as in a line of JSONL.

        Raises:
            RowMistake: for a row that can't be read. Any other error is reported with its row too.
        """
        raise NotImplementedError


@maker
class Jsonl(Reader):
    """Pairs from a file of JSON objects, one a line.

    An object has the texts base, source, answer and foil (lists of them are sets, and all lines may
    be without a foil; `sources` are several by their names), and optionally counterfactual_answer
    (else the foil), split, positions, class, template and cluster. Pairs that share a prompt or a
    cluster are one unit of every interval. `train` is the share of units that goes to `.train`, by
    a seeded shuffle, where the file itself does not say which pairs do. With `answers: whole` they
    may have several tokens; of `where: correct` a run keeps the pairs that its model gets right.
    `frame: chat` puts the model's chat template around every prompt.
    """

    word = "jsonl"
    answers: Literal["token", "whole"] = "token"
    where: Literal["correct"] | None = None
    frame: Literal["chat"] | None = None
    row = "line"
    form = "write one JSON object a line"
    example = 'jsonl("pairs.jsonl")'

    def rows(self, path: Path) -> Iterable[Mapping[str, Any] | None]:
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            yield _object(line) if line.strip() else None


def _object(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        line.encode()
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        message = f"is not JSON text: {str(error)[:200]}"
        raise RowMistake("bad-json", message, _ONE_OBJECT) from None
    if not isinstance(record, dict):
        raise RowMistake("bad-json", "is not a JSON object", _ONE_OBJECT)
    return record


@maker
class DataFile(Maker):
    """Pairs from a file of CSV, TSV, JSON, JSON lines or Parquet, or a dataset saved to disk.

    Its columns are known by the names that the field gives them (docs/data.md); `base`, `source`,
    `answer`, `foil` and `classes` name columns where that is not enough; of several `sources` each
    is one by the name of its column. `template` makes prompts of inputs, behind so many `shots`.
    `train` is the share of units that goes to `.train`, `split` the only split to use, `limit` the
    most pairs, drawn by `seed`. Rows that can't be used are counted and named. With `answers:
    whole` answers may have several tokens; of `where: correct` a run keeps the pairs that its model
    gets right. `frame: chat` puts the model's chat template around every prompt.
    """

    word = "dataset"
    gives = PairsType()
    on_text = True
    operands = (Operand("file", "path"),)
    example = 'dataset("pairs.csv")'
    base: str | None = None
    source: str | None = None
    sources: tuple[str, ...] | None = None
    answer: str | None = None
    foil: str | None = None
    classes: str | None = None
    answers: Literal["token", "whole"] = "token"
    template: str | None = None
    shots: int = Field(0, ge=0, le=100)
    train: float | None = Field(None, gt=0, lt=1)
    split: str | None = None
    limit: int | None = Field(None, ge=1)
    where: Literal["correct"] | None = None
    frame: Literal["chat"] | None = None
    seed: int = Field(0, ge=0, lt=2**31)


@maker
class Given(DataFile):
    """Pairs from a table that Python gives: `cd.run(program, data={"mine": frame})`.

    `pairs mine = given` takes the one of its own name. A table is a frame of pandas or polars, a
    table of pyarrow, a dataset, or a list of dictionaries; its columns and the options are as in
    `dataset`.
    """

    word = "given"
    operands = (Operand("name", "text"),)
    example = 'given("mine")'


@maker
class Hook(Maker):
    """Any other hook of TransformerLens, by its name."""

    word = "hook"
    gives = SiteType(None)
    operands = (Operand("name", "text"),)
    example = 'hook("blocks.3.mlp.hook_post")'


@maker
class RandomMlp(Maker):
    """A control, not in the model: neurons of a random MLP beside that of a layer."""

    word = "random_mlp"
    gives = SiteType(None)
    operands = (Operand("layer", "layer"),)
    example = "random_mlp(20, seed: 1)"
    seed: int = Field(0, ge=0, lt=2**31)
