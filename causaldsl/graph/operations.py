"""The nodes of the graph: frozen operations, each with a content key.

The key is a hash of the operation's word, its options, its places, its inputs' keys and the model's
fingerprint. Equal work has equal keys, so it appears once, whatever it is called in the program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from causaldsl.check.pairs import PairSet
from causaldsl.check.places import PositionRef
from causaldsl.model.edges import Wiring
from causaldsl.model.sites import Site
from causaldsl.vocabulary.base import SIDES, Pure, Word
from causaldsl.vocabulary.register import code_of
from causaldsl.vocabulary.traces import FreezeChoice, LayerNormChoice

_MANY = 8
ARM = "run "
"""What the role of a run begins with, among the inputs of an audit."""


class SiteAt(BaseModel):
    """A site at positions, as an operation needs it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    site: Site
    position: PositionRef

    def __str__(self) -> str:
        return f"{self.site} @ {self.position}"


class Input(BaseModel):
    """What an operation takes from another one, and as what."""

    model_config = ConfigDict(frozen=True)

    role: str
    key: str


class Operation(BaseModel):
    """One operation.

    ``at`` is where in the model it acts, ``classes`` the classes it compares, ``to`` the receivers
    whose inputs a hop of a path sets.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    word: SerializeAsAny[Word]
    at: SiteAt | None = None
    classes: tuple[str, ...] = ()
    to: tuple[SiteAt, ...] = ()
    inputs: tuple[Input, ...] = ()
    model: str = ""

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the operation by its content."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def content(self) -> dict[str, Any]:
        """Everything that enters the key, as plain data."""
        content = {
            "word": self.word.word,
            "options": self.word.identity(),
            "at": str(self.at) if self.at else None,
            "classes": list(self.classes),
            "inputs": [[taken.role, taken.key] for taken in self.inputs],
            "model": self.model,
        }
        package = code_of(type(self.word))
        content |= {"to": [str(place) for place in self.to]} if self.to else {}
        acts = [place.site.dictionary for place in (self.at, *self.to) if place is not None]
        found = [[one.digest, one.reads, one.writes] for one in acts if one is not None]
        content |= {"dictionaries": found} if found else {}
        return content | ({"package": package} if package else {})

    @property
    def side(self) -> str:
        """The side of the pairs that a clean run runs."""
        assert isinstance(self.word, CleanRunWord)
        return self.word.side

    @property
    def at_site(self) -> SiteAt:
        """Where it acts; only for an operation that acts somewhere."""
        assert self.at is not None
        return self.at

    def place(self, operand: str) -> SiteAt:
        """Where the operand of this name is, of those of its word's that are sites."""
        if operand == "site":
            return self.at_site
        others = [o.name for o in self.word.operands if o.kind == "site" and o.name != "site"]
        return self.to[others.index(operand)]

    def find(self, role: str) -> str | None:
        """The key of the first input with this role, if there is one."""
        return next((i.key for i in self.inputs if i.role == role), None)

    def input(self, role: str) -> str:
        """The key of the first input with this role, which must be there."""
        return self.inputs_as(role)[0]

    def inputs_as(self, role: str) -> list[str]:
        """The keys of all inputs with this role."""
        return [i.key for i in self.inputs if i.role == role]

    @property
    def arms(self) -> list[Input]:
        """The runs of a measure, without that of the sources and those of empty circuits."""
        return [
            taken
            for taken in self.inputs
            if taken.role != SOURCES and not taken.role.startswith(NOTHING_OF)
        ]

    @property
    def receivers(self) -> str:
        """The receivers of a hop, for people; of a large set the first and the last."""
        names = [str(place) for place in self.to]
        if len(names) > _MANY:
            names = [names[0], "...", f"{names[-1]} ({len(names)} receivers)"]
        return ", ".join(names)

    @property
    def label(self) -> str:
        """The operation in one line, for people: its word, place and options."""
        options = self.word.identity()
        parts = [str(self.at)] if self.at else []
        parts += self.classes
        parts += [f"to {self.receivers}"] if self.to else []
        parts += [f"{name}: {value}" for name, value in options.items()]
        return f"{self.word.word} {', '.join(parts)}".strip()


class PairsWord(Pure):
    """Prompts in pairs, tokenized."""

    word = "pairs"
    late = True
    alone = True
    name: str
    digest: str
    count: int

    def identity(self) -> dict[str, Any]:
        """What the pairs are, not what they are called."""
        return {"digest": self.digest, "count": self.count}


class CleanRunWord(Word):
    """The model run on the bases, the sources or those of a name, with nothing changed."""

    word = "clean_run"
    runs = "reads"
    sides = ()
    large = True
    late = True
    alone = True
    side: str


class PatchedRunWord(Word):
    """The model run on the bases with interventions in force.

    A path straight from its sender to the logits also says what is held at its clean value.
    ``stages`` says in which stage each of its changes is made, where there are several. With
    ``edges`` (:class:`causaldsl.model.edges.Wiring`) its changes are not made: their values are
    carried along these edges, and each receiver reads a sum of its own. ``circuit``: its changes
    are all that is outside a circuit, so that what is seen of them is said of all together.
    """

    word = "patched_run"
    runs = "edits"
    sides = ("base",)
    alone = True
    freeze: FreezeChoice = "none"
    layernorm: LayerNormChoice = "recompute"
    stages: tuple[int, ...] = ()
    edges: str = ""
    circuit: bool = False

    def identity(self) -> dict[str, Any]:
        """Nothing for an ordinary run; else the whole policy, the stages and the edges."""
        policy = self.model_dump(mode="json", exclude=_APART)
        usual = PatchedRunWord().model_dump(mode="json", exclude=_APART)
        said = {} if policy == usual else policy
        if self.edges:
            digest = hashlib.sha256(self.edges.encode()).hexdigest()[:16]
            said |= {"edges": Wiring.parse(self.edges).count, "wiring": digest}
        return said | ({"stages": list(self.stages)} if self.stages else {})


_APART = {"stages", "edges", "circuit"}


class HopWord(Word):
    """One step of a path: the run with the sender changed and the policy in force.

    What the receivers read in that run is what later runs put there.
    """

    word = "hop"
    runs = "edits"
    sides = ("base",)
    large = True
    freeze: FreezeChoice = "none"
    layernorm: LayerNormChoice = "recompute"


class TraceWord(Word):
    """What carries the effect of interventions on a metric: components and edges among them.

    ``heads`` has (layer, head) and ``mlps`` the layers of the components, ``positions`` where they
    are traced, ``top`` how many of them the edges are measured between.
    """

    word = "trace"
    runs = "edits"
    sides = SIDES
    metric: str
    heads: tuple[tuple[int, int], ...]
    mlps: tuple[int, ...]
    top: int
    positions: tuple[str, ...]


class MadeWord(Pure):
    """The value of an operation that has been made before, in another run."""

    word = "made"
    key: str


class TableWord(Pure):
    """All numbers of a table."""

    word = "table"


SOURCES = "clean sources"
"""The role of the sources' clean run among a measure's runs; an arm's name has no space."""
NOTHING_OF = "nothing of "
"""What the role of a circuit's run begins with in which nothing of it is left; its arm follows."""


class MeasureWord(Pure):
    """Metrics over the runs of a measure or sweep."""

    word = "measure"
    metrics: tuple[str, ...]
    origins: tuple[str, ...] = ()
    """Of metrics that are from other packages or the program's own: from which, or the formula."""

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        return found if self.origins else {"metrics": found["metrics"]}


class ChoiceWord(Pure):
    """The cells of a sweep that come out on top, as long as nothing has found them.

    It stands for them in what identifies a program; no run has one.
    """

    word = "choice"
    metric: str
    cells: tuple[str, ...]
    count: int


def inputs_of(keys: Mapping[str, str]) -> tuple[Input, ...]:
    """Inputs from operations by their roles."""
    return tuple(Input(role=role, key=key) for role, key in keys.items())


def pairs_operation(pairs: PairSet, model: str) -> Operation:
    word = PairsWord(name=pairs.name, digest=pairs.digest, count=len(pairs))
    return Operation(word=word, model=model)
