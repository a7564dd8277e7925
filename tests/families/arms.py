"""Arms of measurements as data: written as a program's text, and worked out by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.families import oracle
from tests.families.anatomy import Model
from tests.families.oracle import Held, Place

FREEZE = {
    "attention": Held(attention=True),
    "mlp": Held(mlp=True),
    "all": Held(attention=True, mlp=True),
    "none": Held(),
}


TOGETHER = 24
"""Arms that the oracle runs in one forward pass."""


@dataclass(frozen=True)
class At:
    """A site at a position: `head[1.2].z @ END`."""

    kind: str
    layer: int | None = None
    head: int | None = None
    where: str = "END"

    def __str__(self) -> str:
        if self.head is not None:
            owner, part = self.kind.split(".")
            return f"{owner}[{self.layer}.{self.head}].{part} @ {self.where}"
        index = "" if self.layer is None else f"[{self.layer}]"
        return f"{self.kind}{index} @ {self.where}"

    @property
    def place(self) -> Place:
        return self.kind, self.layer, self.head

    @property
    def name(self) -> str:
        """As part of an identifier."""
        return "".join(c if c.isalnum() else "_" for c in str(self))


@dataclass(frozen=True)
class Do:
    """One intervention: patch, zero, mean, resample or steer, along a named direction or whole."""

    verb: str
    at: At
    along: str = ""
    by: float = 0.0

    def __str__(self) -> str:
        along = f" along {self.along}" if self.along else ""
        if self.verb == "patch":
            return f"patch {self.at}{along}"
        if self.verb == "steer":
            return f"steer {self.at}{along} by {self.by}"
        return f"ablate {self.at} to {self.verb}{along}"


@dataclass(frozen=True)
class Way:
    """A path: senders, receivers stage by stage, and its policy."""

    sender: tuple[Do, ...]
    stages: tuple[tuple[At, ...], ...]
    freeze: str
    norms: str

    def __str__(self) -> str:
        stages = [
            str(stage[0]) if len(stage) == 1 else "{" + ", ".join(map(str, stage)) + "}"
            for stage in self.stages
        ]
        steps = [" + ".join(map(str, self.sender)), *stages, "logits"]
        return f"{' -> '.join(steps)} {{ freeze {self.freeze}  layernorm {self.norms} }}"

    @property
    def held(self) -> Held:
        found = FREEZE[self.freeze]
        return Held(found.attention, found.mlp, self.norms == "frozen")


@dataclass(frozen=True)
class Arm:
    """What is in force at once: interventions, or a path (with interventions in its last run)."""

    does: tuple[Do, ...] = ()
    way: Way | None = None

    def __str__(self) -> str:
        parts = [str(self.way)] if self.way else []
        return " + ".join([*parts, *map(str, self.does)])

    def interventions(self) -> Iterator[Do]:
        yield from self.does
        if self.way is not None:
            yield from self.way.sender


@dataclass(frozen=True)
class Direction:
    """A named subspace: how a program makes it."""

    name: str
    text: str


# Pairs, and what the oracle makes of an arm on them.


@dataclass(frozen=True)
class Case:
    """One pair of prompts as the oracle needs it: token ids, named token indices, two token ids."""

    base: tuple[int, ...]
    source: tuple[int, ...]
    base_at: Mapping[str, int]
    source_at: Mapping[str, int]
    answer: int
    foil: int


def indices(where: str, named: Mapping[str, int], length: int) -> list[int]:
    """Token indices of `END`, `S2-1`, `END-3..END` or `all`."""
    if where == "all":
        return list(range(length))
    first, _, last = where.partition("..")
    begin, end = _index(first, named), _index(last or first, named)
    return list(range(begin, end + 1))


def _index(where: str, named: Mapping[str, int]) -> int:
    for sign in "+-":
        name, found, offset = where.partition(sign)
        if found:
            return named[name] + int(sign + offset)
    return named[where]


@dataclass(eq=False)
class Batch:
    """Cases of one length on either side, and so with equally many positions everywhere."""

    rows: list[int]
    cases: list[Case]

    @property
    def base(self) -> Tensor:
        return torch.tensor([case.base for case in self.cases])

    @property
    def source(self) -> Tensor:
        return torch.tensor([case.source for case in self.cases])

    def at(self, where: str, side: str = "base") -> Tensor:
        """Token indices (n, k)."""
        found = []
        for case in self.cases:
            named = case.base_at if side == "base" else case.source_at
            found.append(indices(where, named, len(getattr(case, side))))
        return torch.tensor(found)


@dataclass(eq=False)
class Reference:
    """The oracle on some pairs; activations of unchanged runs are kept."""

    model: Model
    cases: Sequence[Case]
    batches: list[Batch] = field(default_factory=list)
    _kept: dict[Any, Tensor] = field(default_factory=dict)
    _known: dict[Any, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        groups: dict[tuple[int, int], list[int]] = {}
        for row, case in enumerate(self.cases):
            groups.setdefault((len(case.base), len(case.source)), []).append(row)
        self.batches = [Batch(rows, [self.cases[row] for row in rows]) for rows in groups.values()]

    def by_pair(self, of_batch: Callable[[Batch], Tensor]) -> list[Tensor]:
        """What a batch gives for each of its cases, in the order of the pairs."""
        found: dict[int, Tensor] = {}
        for batch in self.batches:
            found |= dict(zip(batch.rows, of_batch(batch), strict=True))
        return [found[row] for row in range(len(self.cases))]

    def activation(self, batch: Batch, at: At, side: str) -> Tensor:
        """(n, k, d) in an unchanged run."""
        self._read(batch, side, [at.place])
        return oracle.gather(self._kept[id(batch), at.place, side], batch.at(at.where, side))

    def _read(self, batch: Batch, side: str, places: Iterable[Place]) -> None:
        """Keep activations at places of which there are none yet, all in one pass."""
        new = [p for p in dict.fromkeys(places) if (id(batch), p, side) not in self._kept]
        if new:
            found = oracle.read(self.model, getattr(batch, side), new)
            self._kept |= {(id(batch), p, side): x for p, x in zip(new, found, strict=True)}

    def logits(self, arms: Sequence[Arm], bases: Mapping[str, Tensor]) -> list[Tensor]:
        """(n, V) of each arm in the order of the pairs; ``bases`` are the named directions."""
        found = {arm: self._known[key] for arm in arms if (key := _key(arm, bases)) in self._known}
        plain = [arm for arm in arms if arm.way is None and arm not in found]
        with torch.no_grad():
            for batch in self.batches:
                dos = [do for arm in arms if arm not in found for do in arm.interventions()]
                self._read(batch, "source", (do.at.place for do in dos if do.verb == "patch"))
                self._read(batch, "base", (do.at.place for do in dos if do.verb != "patch"))
            for first in range(0, len(plain), TOGETHER):
                some = plain[first : first + TOGETHER]
                by_pair = self.by_pair(lambda batch, some=some: self._together(batch, some, bases))
                found |= dict(zip(some, torch.stack(by_pair, 1), strict=True))
            for some in self._alike([arm for arm in arms if arm not in found]):
                by_pair = self.by_pair(lambda batch, some=some: self._paths(batch, some, bases))
                found |= dict(zip(some, torch.stack(by_pair, 1), strict=True))
        self._known |= {_key(arm, bases): logits for arm, logits in found.items()}
        return [found[arm] for arm in arms]

    def _alike(self, arms: Sequence[Arm]) -> Iterator[list[Arm]]:
        """Paths in groups that differ in their senders alone, so that one pass serves a group."""
        groups: dict[Any, list[Arm]] = {}
        for arm in arms:
            assert arm.way is not None
            freed = oracle.freed(self.model, [do.at.place for do in arm.way.sender])
            groups.setdefault((arm.way.stages, arm.way.held, arm.does, freed), []).append(arm)
        yield from groups.values()

    def _together(self, batch: Batch, arms: Sequence[Arm], bases: Mapping[str, Tensor]) -> Tensor:
        """(n, A, V): arms one below the other in one forward pass, each with its own rows."""
        edits = self._in_rows(batch, [arm.does for arm in arms], bases)
        logits = oracle.logits(self.model, batch.base.repeat(len(arms), 1), edits)
        return _by_row(logits, len(arms))

    def _paths(self, batch: Batch, arms: Sequence[Arm], bases: Mapping[str, Tensor]) -> Tensor:
        """(n, A, V): the same for paths that differ in their senders alone."""
        way, count = arms[0].way, len(arms)
        assert way is not None
        tokens = batch.base.repeat(count, 1)
        sender = self._in_rows(batch, [arm.way.sender for arm in arms if arm.way], bases)
        if not way.stages:
            return _by_row(oracle.logits(self.model, tokens, sender, way.held), count)
        stages = [
            [(at.place, batch.at(at.where).repeat(count, 1)) for at in stage]
            for stage in way.stages
        ]
        last = oracle.path(self.model, tokens, sender, stages, way.held)
        also = self._in_rows(batch, [arm.does for arm in arms], bases)
        return _by_row(oracle.logits(self.model, tokens, [*last, *also]), count)

    def _in_rows(
        self, batch: Batch, does: Sequence[Sequence[Do]], bases: Mapping[str, Tensor]
    ) -> list[tuple[Place, oracle.Change]]:
        """Edits, each made in the rows of its own repetition of the batch."""
        count, edits = len(batch.cases), []
        for i, some in enumerate(does):
            rows = slice(i * count, (i + 1) * count)
            for do in some:
                place, change = self.edit(batch, do, bases)
                edits.append((place, _of_rows(rows, change)))
        return edits

    def edit(
        self, batch: Batch, do: Do, bases: Mapping[str, Tensor]
    ) -> tuple[Place, oracle.Change]:
        at = batch.at(do.at.where)
        basis = bases[do.along] if do.along else None
        if do.verb == "steer":
            assert basis is not None
            value = (do.by * basis[:, 0]).expand(*at.shape, -1)
            return do.at.place, oracle.put(at, value, add=True)
        return do.at.place, oracle.put(at, self._value(batch, do), basis)

    def _value(self, batch: Batch, do: Do) -> Tensor:
        if do.verb == "patch":
            return self.activation(batch, do.at, "source")
        own = self.activation(batch, do.at, "base")
        if do.verb == "zero":
            return torch.zeros_like(own)
        assert do.verb == "mean"
        everywhere = self.by_pair(lambda other: self.activation(other, do.at, "base"))
        return torch.stack(everywhere).mean(0).expand_as(own)

    def resampled(self, at: At, basis: Tensor | None) -> Tensor:
        """Logits (n, n, V): of every base with the value of every other base there."""
        values = self.by_pair(lambda batch: self.activation(batch, at, "base"))

        def of(batch: Batch) -> Tensor:
            count = len(values)
            value = torch.stack(values).repeat_interleave(len(batch.cases), 0)
            change = oracle.put(batch.at(at.where).repeat(count, 1), value, basis)
            tokens = batch.base.repeat(count, 1)
            return _by_row(oracle.logits(self.model, tokens, [(at.place, change)]), count)

        with torch.no_grad():
            return torch.stack(self.by_pair(of))

    def logit_diff(self, logits: Tensor) -> Tensor:
        answers = torch.tensor([[case.answer, case.foil] for case in self.cases])
        chosen = logits.gather(1, answers)
        return chosen[:, 0] - chosen[:, 1]

    def gradients(self, at: At) -> list[Tensor]:
        """The gradient (k, d) of each base's logit difference with respect to its activation."""

        def of(batch: Batch) -> Tensor:
            leaf: list[Tensor] = []

            def change(x: Tensor) -> Tensor:
                leaf.append(x.detach().clone().requires_grad_())
                return leaf[0].clone()  # Falcon adds to it in place

            with torch.enable_grad():
                logits = oracle.logits(self.model, batch.base, [(at.place, change)])
                answers = torch.tensor([[case.answer, case.foil] for case in batch.cases])
                chosen = logits.gather(1, answers)
                (whole,) = torch.autograd.grad((chosen[:, 0] - chosen[:, 1]).sum(), leaf[0])
            return oracle.gather(whole, batch.at(at.where))

        return self.by_pair(of)


def _key(arm: Arm, bases: Mapping[str, Tensor]) -> Any:
    """The arm and the directions that it names, by their numbers."""
    used = {do.along for do in arm.interventions() if do.along}
    return arm, tuple((name, tuple(bases[name].flatten().tolist())) for name in sorted(used))


def _by_row(logits: Tensor, count: int) -> Tensor:
    """(count * n, V) of ``count`` repetitions of n rows as (n, count, V)."""
    return logits.unflatten(0, (count, -1)).transpose(0, 1)


def _of_rows(rows: slice, change: oracle.Change) -> oracle.Change:
    def some(x: Tensor) -> Tensor:
        out = x.clone()
        out[rows] = change(x[rows])
        return out

    return some


def kl(clean: Tensor, patched: Tensor) -> Tensor:
    """Of the clean from the patched output, (n,)."""
    before, after = clean.log_softmax(-1), patched.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1)
