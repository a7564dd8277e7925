"""What an evaluator sees of the run: its operation, its activations, and its passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.engine.answerable import version_of
from causaldsl.engine.backend import activations_of, logits_of
from causaldsl.engine.dictionaries.edits import features_gradient
from causaldsl.engine.edits import Edit, Read, Watch
from causaldsl.engine.reads import activations
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.session import Session, stack
from causaldsl.engine.upcast import HALF, upcast_dtype
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.plan.chunks import GRADIENT_ROWS
from causaldsl.plan.virtual import edited, read_for
from causaldsl.vocabulary.base import Side, Word

W = TypeVar("W", bound=Word)


@dataclass
class OwnPasses:
    """What an evaluator had run: how many passes with something added, and whether gradients."""

    edits: int = 0
    gradients: bool = False


class Here(Generic[W]):
    """One operation that is being evaluated.

    ``word`` has its options, ``at`` its site and positions. Only what the word declares (``runs``,
    ``sides``, ``passes``) has been planned, and can be had here.
    """

    def __init__(self, session: Session, operation: Operation):
        self.session, self.operation = session, operation
        self.word: W = operation.word  # type: ignore[assignment]
        self.given: list[tuple[Tensor, int]] = []
        """Activations that the word was given, with their versions: it may not change them."""
        self.made = OwnPasses()

    @property
    def key(self) -> str:
        return self.operation.key

    @property
    def at(self) -> SiteAt:
        return self.operation.at_site

    @property
    def backend(self) -> str:
        """The backend that the plan chose for it."""
        return self.session.plan.backends[self.key]

    def value(self, role: str) -> Any:
        """The value of the operand of this name; None where it was left out."""
        key = self.operation.find(role)
        return None if key is None else self.session.values[key]

    def values(self, role: str) -> list[Any]:
        """The values of all operands of this name."""
        return [self.session.values[key] for key in self.operation.inputs_as(role)]

    def runs(self, side: Side = "base") -> PromptRuns:
        """The clean run of one side of its pairs."""
        self._check(self.word.runs != "nothing", "it runs the model")
        self._check(side in self.word.sides, f"it reads the {side}s")
        return self.session.runs(self.operation.input(side), self.backend)

    @property
    def pairs(self) -> PairSet:
        return self.session.graph.pairs_of(self.operation.input("base"))

    @property
    def width(self) -> int:
        """The width of its site's activation."""
        width = self.at.site.width(self.session.loaded.spec.shapes)
        assert width is not None
        return width

    def activations(self, side: Side = "base", at: SiteAt | None = None) -> list[Tensor]:
        """Activations (k, d) of one side's clean run, for each pair in order."""
        self._check(side in self.word.sides, f"it reads the {side}s")
        return self.of_run(self.operation.input(side), at)

    def of_run(
        self, clean_run: str, at: SiteAt | None = None, backend: str | None = None
    ) -> list[Tensor]:
        """Activations (k, d) of the clean run with this key, on its own backend or another one."""
        found = activations(self.session, clean_run, backend or self.backend, at or self.at)
        self.given += [(one, version_of(one)) for one in found]
        return found

    def recorded_by(self, side: Side) -> str:
        """A backend that recorded its site: an intervention has none of its own."""
        return self.session.plan.recorded_by(self.operation.input(side), self.at)

    def stacked(self, side: Side = "base") -> Tensor:
        """Activations of one side as (n, k, d), in double precision on the CPU."""
        return stack(self.activations(side)).cpu().double()

    def rows(self, side: Side = "base") -> Tensor:
        """Activations of one side as (n * k, d): all positions of all prompts."""
        return torch.cat(self.activations(side)).cpu().double()

    def edited(self, step: Tensor, changed: str, read: str) -> list[Tensor]:
        """The bases' activations (k, d) at one of its sites, with a step (d,) added at another."""
        self._check(self.word.runs == "edits", "it edits")
        self.made.edits += 1
        place, seen = self.operation.place(changed), self.operation.place(read)
        runs, loaded = self.runs(), self.session.loaded
        parts: list[Tensor] = []
        watch = Watch()
        # Not every device has float64.
        there = step.to(loaded.device, upcast_dtype(loaded.dtype))
        for group in runs.groups:
            positions = group.positions[place]
            value = there.expand(*positions.shape, len(step))
            edit = Edit(place.site, positions, value, add=True, watch=watch)
            (found,) = activations_of(
                runs.backend, group.clean, [edit], [Read(seen.site, group.positions[seen])]
            )
            parts.append(found.cpu().double())
        if watch.largest == 0:
            self.note(f"a step at {place} was too small to change any activation")
        return runs.by_pair(parts)

    def gradients(self) -> list[Tensor]:
        """Gradient (k, d) of each base's logit difference at its site, in double precision.

        Made once for a site and pairs, whatever words ask for it.
        """
        self._check(any(one.backward for one in self.word.passes()), "it takes gradients")
        self.made.gradients = True
        self.say_if_rounded()
        place = edited(self.at)
        made: list[Tensor] = self.session.cached(
            f"gradient {self.operation.input('base')} {place}", self._make_gradients
        )
        if self.at.site.dictionary is None:
            return made
        inputs = self.of_run(self.operation.input("base"), read_for(self.at)[0])
        return features_gradient(self.session, self.at.site, made, inputs)

    def generator(self, seed: int, *labels: str) -> torch.Generator:
        """A seeded generator of its own for every use, so that order does not matter."""
        return self.session.generator(seed, *labels)

    def note(self, text: str) -> None:
        """Something that a reader of the results should know, once."""
        self.session.note(text)

    def say_if_rounded(self) -> None:
        """A note where gradients are in half precision and the program does not ask for that.

        Of a program that does, `check` has said it (the warning `rounded-gradients`).
        """
        loaded = self.session.loaded
        if loaded.dtype in HALF and loaded.spec.dtype != loaded.dtype_name:
            self.note(
                f"{loaded.dtype_name}: gradients can be off by a tenth and more, so can what is "
                "estimated or chosen by them; run it in float32, or claim only what patches do"
            )

    def _check(self, declared: bool, what: str) -> None:
        """What a word does not declare has not been planned, and so can't be had."""
        if not declared:
            raise LookupError(f"the word does not declare that {what} (`runs`, `sides`)")

    def _make_gradients(self) -> list[Tensor]:
        runs, retrying = self.runs(), self.session.retrying(self.backend)

        def of_group(group: Group, pieces: int) -> Tensor:
            rows = torch.arange(len(group.rows)).split(max(1, GRADIENT_ROWS // pieces))
            return torch.cat([self._gradients_of(runs, group, some) for some in rows])

        return runs.by_pair([retrying.in_pieces(partial(of_group, g)) for g in runs.groups])

    def _gradients_of(self, runs: PromptRuns, group: Group, rows: Tensor) -> Tensor:
        """Gradients (n, k, d) for some prompts of a group: with respect to zeros that are added."""
        answers = runs.answers(group.rows[rows].tolist())
        dtype, device = self.session.loaded.dtype, answers.columns.device
        with torch.enable_grad():
            place = edited(self.at)
            positions = group.positions[place][rows]
            width = place.site.width(self.session.loaded.spec.shapes)
            assert width is not None
            nothing = torch.zeros(*positions.shape, width, dtype=dtype, device=device)
            edit = Edit(place.site, positions, nothing.requires_grad_(), add=True)
            logits = logits_of(runs.backend, group.clean, [edit], answers.columns, rows)
            (found,) = torch.autograd.grad(answers.differences(logits).sum(), nothing)
        return found.cpu().double()
