"""What a word is: a frozen pydantic class whose fields are the word's options.

A family of words lives in one file of this folder. A word names its operands with their kinds, says
what it gives and what it runs, and checks the dimensions; its docstring is its entry in the
reference. The engine evaluates it in one function, registered for the class.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.types import SiteType, Type

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
    "attribution",
    "audit",
    "text",
    "texts",
    "layer",
    "values",
    "model",
    "activations",
    "attention",
    "tokens",
    "end",
    "nodes",
    "outside",
    "token",
    "dictionary",
    "features",
    "feature",
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
"""The fewest of each that a training without ``epochs`` takes, unless it stops before."""
HELD_OUT = 0.2
"""The share of pairs that it holds out: it stops by their loss."""
FEWEST = 10
"""The fewest pairs of prompts of which some are held out: the loss of fewer says little."""


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
    gives: ClassVar[Type | None] = None
    """What it gives, where that does not depend on its operands; else ``result`` says it."""
    one_answer: ClassVar[bool] = False
    """Whether each of its pairs must have one answer and one foil, and no sets of them."""
    changes: ClassVar[bool] = False
    """Whether it changes an activation: its value is what a run puts at its site."""
    large: ClassVar[bool] = False
    """Whether its value holds activations of all pairs, and so is freed after its last use."""
    passing: ClassVar[bool] = False
    """Whether it stands in no result, so that it is made for others only, and not kept."""
    late: ClassVar[bool] = False
    """Whether it is made right before its first use, and not as soon as its operands are there."""

    alone: ClassVar[bool] = False
    """Whether its value for a pair rests on nothing of other pairs, so that these can be apart."""
    same_space: ClassVar[bool] = False
    """Whether its subspace lies at the site at which the subspaces that it is made from lie."""
    on_text: ClassVar[bool] = False
    """Whether it needs a model that reads text, as any word that edits or takes gradients does."""
    quantity: ClassVar[str] = ""
    """What its number is, for the axis of a picture; one of a metric says so by itself."""
    example: ClassVar[str] = ""
    """How it is written, where that helps more than the signature."""
    otherwise: ClassVar[str] = ""
    """What to write for other operands, where those of another word are often meant."""

    @property
    def is_alone(self) -> bool:
        """``alone``, where it depends on options."""
        return self.alone

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
        if self.gives is None:
            raise NotImplementedError(f"{self.word} does not say what it `gives`")
        return self.gives

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
        """This training with ``dim`` directions in ``neurons`` neurons; None if it is not trained.

        Without ``neurons`` all of the site may be used.
        """
        return None

    def seeded(self, after: int) -> tuple[int, Word] | None:
        """A later seed and this training with it; None if it is not trained from a seed."""
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

    amounts: ClassVar[tuple[str, ...]] = ()
    """Options that may be numbers which only the run knows: then they are 1, and an operand of the
    same name has the number that they are multiplied by."""
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
    origins: ClassVar[tuple[str, ...]] = ()
    """Clauses that say from where the values are that it puts in, if they are from elsewhere."""
    on_prompts: ClassVar[bool] = False
    """Whether its values are worked out from the prompts themselves."""

    def result(self, types: Mapping[str, Any]) -> SiteType:
        """The type of its site; what it acts ``along`` must be a subspace there."""
        site: SiteType = types["site"]
        along = types.get("along")
        if along is not None and site.width is not None and along.width != site.width:
            raise OperandMistake(
                "along",
                "width-mismatch",
                f"this subspace has {along.width} dimensions, the site {site.width}",
                "act at the site that it was made at; or in the stream along what it writes there "
                "from an MLP's neurons: `along v * W_out[LAYER]`",
            )
        return site


class Maker(Pure):
    """A word whose value is known before the run, and so no operation."""

    gives: ClassVar[Type]
