"""What the values of a program are: the type of each, with the dimensions that `check` compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class NumberType:
    """A number; ``constant`` when it is known before the run."""

    constant: float | None = None

    def __str__(self) -> str:
        return "a number"


@dataclass(frozen=True)
class SubspaceType:
    """A subspace of a ``width``-dimensional space; ``rank`` None when only the run can tell."""

    width: int
    rank: int | None

    def __str__(self) -> str:
        return f"a subspace of {self.width} dimensions"


@dataclass(frozen=True)
class MatrixType:
    """One of the model's matrices, as (inputs, outputs)."""

    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"a matrix from {self.inputs} to {self.outputs} dimensions"


@dataclass(frozen=True)
class SiteType:
    """A site with its width; None for a raw hook."""

    width: int | None

    def __str__(self) -> str:
        return "a site"


@dataclass(frozen=True)
class EdgeType:
    """An edge of the model, a member of sets of edges."""

    def __str__(self) -> str:
        return "an edge"


@dataclass(frozen=True)
class SetType:
    """Heads, MLPs or edges."""

    def __str__(self) -> str:
        return "a set"


@dataclass(frozen=True)
class TraceType:
    """A trace with the components that it goes through."""

    components: frozenset[str]

    def __str__(self) -> str:
        return "a trace"


@dataclass(frozen=True)
class TruthType:
    def __str__(self) -> str:
        return "a claim that holds or not"


@dataclass(frozen=True)
class AuditType:
    def __str__(self) -> str:
        return "an audit"


@dataclass(frozen=True)
class PairsType:
    def __str__(self) -> str:
        return "pairs"


@dataclass(frozen=True)
class PromptsType:
    def __str__(self) -> str:
        return "prompts"


@dataclass(frozen=True)
class LexiconType:
    def __str__(self) -> str:
        return "lexicon"


@dataclass(frozen=True)
class DictionaryType:
    """A dictionary of features of activations of ``width`` numbers, which it writes as ``out``."""

    width: int = 0
    out: int = 0
    features: int = 0

    def __str__(self) -> str:
        return "dictionary"


DataType: TypeAlias = PairsType | PromptsType | LexiconType | DictionaryType
"""What a statement of the same name defines, and no operation gives."""

Type: TypeAlias = (
    NumberType
    | SubspaceType
    | MatrixType
    | SiteType
    | EdgeType
    | SetType
    | TraceType
    | AuditType
    | TruthType
    | DataType
)
