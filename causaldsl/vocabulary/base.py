"""What a word is: a frozen pydantic class whose fields are the word's options.

A family of words lives in one file of this folder. A word names its operands with their kinds, says
what it gives and what it runs, and checks the dimensions; its docstring is its entry in the
reference. The engine evaluates it in one function, registered for the class.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from causaldsl.diagnostics import Mistake
from causaldsl.discovery import import_all

OperandKind = Literal[
    "site",
    "subspace",
    "subspaces",
    "matrix",
    "pairs",
    "prompts",
    "class",
    "number",
    "numbers",
    "integers",
    "coordinates",
    "path",
    "trace",
    "audit",
    "text",
    "texts",
    "layer",
    "values",
    "model",
]


@dataclass(frozen=True)
class Operand:
    """One thing a word is applied to. A keyword operand is written ``name: value``."""

    name: str
    kind: OperandKind
    keyword: bool = False
    required: bool = True


Runs = Literal["nothing", "reads", "edits", "gradients"]
"""What evaluating a word does with the model, beside what its operands did.

``nothing``: it is worked out from its operands. ``reads``: clean runs record its sites for it.
``edits``: it runs the bases with something changed. ``gradients``: it also takes gradients.
"""

Side = Literal["base", "source"]
SIDES: tuple[Side, ...] = ("base", "source")


@dataclass(frozen=True)
class OwnPass:
    """A pass of the bases that evaluating a word makes: which of its sites it changes and reads.

    ``changed`` and ``read`` are names of its operands; where nothing is read, logits are asked for.
    """

    changed: tuple[str, ...]
    read: tuple[str, ...] = ()
    backward: bool = False


STEPS, EPOCHS = 100, 10
"""A training without ``epochs`` takes at least so many of each, unless it stops before."""
HELD_OUT = 0.2
"""The share of pairs whose loss it stops by."""
FEWEST = 10
"""Of fewer pairs of prompts none are held out: their loss would say little, and each is needed."""


@dataclass(frozen=True)
class Training:
    """How a word is trained: over and over the pairs, and a share of them as no-change examples.

    ``epochs`` None: as many as the pairs need, stopping by the loss of pairs that are held out.
    """

    epochs: int | None
    batch: int
    no_change: float
    whole_vocabulary: bool
    """Whether its loss takes the logits of the whole vocabulary, or of answer and foil."""


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


DataType: TypeAlias = PairsType | PromptsType | LexiconType
"""What a statement of the same name defines, and no operation gives."""

Type: TypeAlias = (
    NumberType | SubspaceType | MatrixType | SiteType | TraceType | AuditType | TruthType | DataType
)


class OperandMistake(Mistake):
    """A mistake in one operand, so that the message can point at it."""

    def __init__(self, operand: str, code: str, message: str, help: str | None = None):
        super().__init__(code, message, help)
        self.operand = operand


class Word(BaseModel):
    """A word of the language. Fields are options; subclasses say the rest.

    Every class with a ``word`` says what it ``runs`` and which ``sides`` it reads, or derives from
    :class:`Pure`. There is no default: a wrong one would make the plan wrong in silence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: ClassVar[str]
    operands: ClassVar[tuple[Operand, ...]] = ()
    runs: ClassVar[Runs]
    sides: ClassVar[tuple[Side, ...]]
    """The sides of the pairs whose activations it reads."""
    learned: ClassVar[bool] = False
    """Whether it is trained through the patch, so that its effect on held-out pairs is reported."""
    changes: ClassVar[bool] = False
    """Whether it changes an activation: its value is what a run puts at its site."""
    large: ClassVar[bool] = False
    """Whether its value holds activations of all pairs, and so is freed after its last use."""
    late: ClassVar[bool] = False
    """Whether it is made right before its first use, and not as soon as its operands are there."""

    same_space: ClassVar[bool] = False
    """Whether its subspace lies at the site at which the subspaces that it is made from lie."""
    on_text: ClassVar[bool] = False
    """Whether it needs a model that reads text, as any word that edits or takes gradients does."""
    example: ClassVar[str] = ""
    """How it is written, where that helps more than the signature."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if not hasattr(cls, "word"):
            return
        for needed in ("runs", "sides"):
            if not hasattr(cls, needed):
                raise TypeError(f"the word {cls.word} does not say its `{needed}`")
        kinds = [operand.kind for operand in cls.operands]
        for what, said, known in (
            ("`runs`", [cls.runs], get_args(Runs)),
            ("`sides`", cls.sides, SIDES),
            ("operands of kind", kinds, get_args(OperandKind)),
        ):
            for one in said:
                if one not in known:
                    allowed = ", ".join(known)
                    raise TypeError(f"the word {cls.word} has {what} {one!r}; known are {allowed}")

    def result(self, types: Mapping[str, Any]) -> Type:
        """What the word gives for operands of these types (a tuple of types for ``subspaces``).

        Raises:
            OperandMistake: if their dimensions don't fit together.
        """
        raise NotImplementedError

    def passes(self) -> tuple[OwnPass, ...]:
        """The passes that evaluating it makes; a word that ``edits`` lists its own."""
        if self.runs == "gradients":
            return (OwnPass(("site",), backward=True),)
        if self.runs == "edits":
            raise NotImplementedError(f"{self.word} does not say which passes it makes")
        return ()

    def training(self, width: int | None) -> Training | None:
        """How it is trained at a site of this width; None if it is not trained."""
        return None

    def retrained(self, dim: int, neurons: int | None = None) -> Word | None:
        """The same training of ``dim`` directions, in so many neurons; None if it is not trained.

        All neurons of the site may be used where ``neurons`` is None.
        """
        return None

    def aligned(self) -> bool:
        """Whether its site must have equally many positions in all prompts that it reads."""
        return False

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        """Raise a :class:`Mistake` if the prompts that it reads are too few.

        Equal prompts are equal here; ``positions`` counts the tokens of all of them at its site.
        """

    @property
    def measured(self) -> str | None:
        """The metric of which its value is one number, if it is."""
        return None

    @property
    def estimated(self) -> bool:
        """Whether its value is an average over pairs, and so has an interval."""
        return False

    computed: ClassVar[tuple[str, ...]] = ()
    """Fields that are worked out from the operands, and so can't be written as options."""

    @classmethod
    def options(cls) -> list[str]:
        """The names of the fields that a program can write."""
        return [name for name in cls.model_fields if name not in cls.computed]

    def identity(self) -> dict[str, Any]:
        """The options as plain data: what, with the word, says which operation this is."""
        return self.model_dump(mode="json")

    @classmethod
    def summary(cls) -> str:
        return (cls.__doc__ or "").strip().split("\n")[0]

    @classmethod
    def signature(cls) -> str:
        """How the word is written, for help."""
        parts = [
            f"{operand.name}: {operand.kind}" if operand.keyword else operand.name
            for operand in cls.operands
            if operand.required
        ]
        fields = cls.model_fields
        options = [
            f"{name}: {'...' if fields[name].is_required() else fields[name].default}"
            for name in cls.options()
        ]
        if cls.changes:  # a verb: its clauses have no colon
            clauses = [part.replace(":", "", 1) for part in [*parts[1:], *options]]
            return " ".join([cls.word, parts[0], *clauses])
        return f"{cls.word}({', '.join([*parts, *options])})"


class Pure(Word):
    """A word whose value follows from its operands and the model's weights alone."""

    runs = "nothing"
    sides = ()


class Change(Word):
    """A word that changes an activation. ``sides`` are the clean runs whose values it takes."""

    changes = True
    large = True
    late = True


class Maker(Pure):
    """A word whose value is known before the run, and so no operation; ``gives`` is its kind."""

    gives: ClassVar[Type]

    def result(self, types: Mapping[str, Any]) -> Type:
        return self.gives


@dataclass
class Vocabulary:
    """Words by their spelling: ``functions`` and ``makers`` are written ``word(operands)``,
    ``interventions`` ``word site clauses``, ``metrics`` in a `report`.

    A function becomes an operation of the graph; what a maker makes is known before the run.
    """

    functions: dict[str, type[Word]] = field(default_factory=dict)
    interventions: dict[str, type[Word]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    makers: dict[str, type[Maker]] = field(default_factory=dict)
    version: str = ""
    """The version of the package that they come from, where it is another one."""

    def tables(self) -> tuple[dict[str, Any], ...]:
        return self.functions, self.interventions, self.metrics, self.makers

    def words(self) -> set[str]:
        return {word for table in self.tables() for word in table}

    def add(self, other: Vocabulary) -> None:
        """Take in the words of another vocabulary; none may be there already."""
        for mine, theirs in zip(self.tables(), other.tables(), strict=True):
            mine.update(theirs)


BUILT_IN = Vocabulary()
PACKAGES: dict[str, Vocabulary] = {}
"""The words of other packages that have been imported, by the package's name."""
FUNCTIONS, INTERVENTIONS = BUILT_IN.functions, BUILT_IN.interventions

Registered = TypeVar("Registered")
Made = TypeVar("Made", bound=Maker)


def function(cls: type[Word]) -> type[Word]:
    """Register a word written as a function."""
    return register(vocabulary_of(cls.__module__).functions, cls.word, cls)


def intervention(cls: type[Word]) -> type[Word]:
    """Register a word that changes an activation."""
    return register(vocabulary_of(cls.__module__).interventions, cls.word, cls)


def maker(cls: type[Made]) -> type[Made]:
    """Register a word that makes data or a site, written as a function."""
    makers: dict[str, Any] = vocabulary_of(cls.__module__).makers
    register(makers, cls.word, cls)
    return cls


def register(table: dict[str, Registered], word: str, entry: Registered) -> Registered:
    """Put an entry under a word into a table.

    Raises:
        ValueError: for a word that is there.
        TypeError: for one without a docstring, which is its entry in the reference.
    """
    if not (getattr(entry, "__doc__", None) or "").strip():
        raise TypeError(f"the word {word} has no docstring")
    if word in table:
        raise ValueError(f"the word {word} is defined twice")
    table[word] = entry
    return entry


def vocabulary_of(module: str) -> Vocabulary:
    """The vocabulary that a module's words belong to: that of its package."""
    package = module.partition(".")[0]
    if package == __name__.partition(".")[0]:
        return BUILT_IN
    return PACKAGES.setdefault(package, Vocabulary())


def package_name(cls: type) -> str:
    """The package that a word or metric comes from."""
    return cls.__module__.partition(".")[0]


def package_of(cls: type) -> str:
    """The same with its version, if it is another one: the word's values depend on both."""
    package = package_name(cls)
    return f"{package} {PACKAGES[package].version}" if package in PACKAGES else ""


@cache
def load_vocabulary() -> None:
    """Import every file of this folder, so that all words are registered."""
    import_all("causaldsl.vocabulary")
