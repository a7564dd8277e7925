"""A family's folder run as users would: programs on either backend, against the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.pairs import Pair
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import Backends
from causaldsl.engine.records import gather
from causaldsl.engine.registry import load_engines
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.load import load
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.settings import Settings
from causaldsl.results.records import Results
from tests.families import oracle
from tests.families.arms import Arm, Case, Direction, Reference, kl
from tests.families.models import family_folder

PRELUDE = """model lm = "NAME"
lexicon name = words(["Mary", "John", "Tom", "Anna", "Kate", "Paul", "Mark", "Luke"]) split half
lexicon place = words(["store", "school", "park", "beach", "office", "garden"]) split half
prompts visits {
  train "Then, {X} and {Y} went to the {place}. {Z} gave a ring to"
  test "After the meeting, {X} and {Y} walked to the {place}. There, {Z} said to"
  test "Then, {X} and {Y} met. {Z} said to"
  slots X Y Z: name, place: place
  answer A  foil B
  position S2 = Z, END = last
}
pairs flip = visits ABB <-> ABA { train 6  test 4  seed 0 }
"""
ONE_LENGTH = "\n".join(line for line in PRELUDE.splitlines() if " met. " not in line) + "\n"
"""The same with test prompts of one length, for runs of one length at a time."""
CLOSE, CHANGED = 1e-9, 1e-7
BACKENDS = ("hooks", "cone")


class Keeping(Session):
    """A session that forgets no value."""

    def keep(self, keys: Sequence[str], values: Sequence[Any]) -> None:
        self.__dict__.setdefault("every", {}).update(zip(keys, values, strict=True))
        super().keep(keys, values)


@dataclass(eq=False)
class Ran:
    """A program that was run: its checked form, its session with all values, its results."""

    program: CheckedProgram
    session: Keeping
    results: Results

    @property
    def every(self) -> dict[str, Any]:
        return self.session.__dict__["every"]

    def value(self, name: str) -> Any:
        return self.every[self.session.graph.key_of(name)]

    def basis(self, name: str) -> Tensor:
        found: SubspaceValue = self.value(name)
        return found.basis

    def arm(self, measure: str, arm: str) -> tuple[dict[str, Tensor], str]:
        """The columns of an arm by pair, and the backend that it was run on."""
        key = self.session.graph.arm(measure, arm)
        return self.every[key].columns, self.session.plan.backends[key]


@dataclass(eq=False)
class Bench:
    """One model in a folder, with all that several programs share."""

    name: str
    folder: Path
    prelude: str = PRELUDE
    _backends: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        return oracle.load(self.folder)

    def check(self, text: str) -> CheckedProgram:
        whole = self.prelude.replace("NAME", self.folder.name) + text
        return Checker(Source("case.cpatch", whole), self.folder.parent / "case.cpatch").check()

    def run(self, text: str, backend: str, **settings: Any) -> Ran:
        """Raises what check and run raise."""
        program = self.check(text)
        graph = compile_program(program)
        chosen = Settings(**{"dtype": "float64", "resamples": 20, "backend": backend, **settings})
        load_engines(program.engines)
        loaded, backends, notes = self._loaded(program, chosen)
        session = Keeping(graph, loaded, backends, chosen, lambda *_: None, list(notes))
        interpret(session)
        return Ran(program, session, gather(program, session, 0.0))

    def serves_cone(self) -> list[str]:
        """Why the cone does not serve this model; nothing if it does."""
        program = self.check("")
        _, backends, notes = self._loaded(program, Settings(dtype="float64"))
        return [] if "cone" in backends else notes

    def _loaded(self, program: CheckedProgram, chosen: Settings) -> Any:
        key = f"{chosen.backend} {chosen.dtype}"
        if key not in self._backends:
            assert program.model is not None
            loaded, notes = load(program.model, dtype=chosen.dtype), []
            self._backends[key] = loaded, Backends(loaded, notes, chosen.backend), notes
        return self._backends[key]

    def cases(self, pairs: Sequence[Pair]) -> list[Case]:
        return [
            Case(p.base.ids, p.source.ids, p.base.named, p.source.named, p.answer, p.foil)
            for p in pairs
        ]

    def pairs(self, ran: Ran, name: str) -> list[Case]:
        graph = ran.session.graph
        return self.cases(graph.pairs[graph.key_of(name)].pairs)

    @cached_property
    def references(self) -> dict[tuple[str, str], Reference]:
        return {}

    def reference(self, ran: Ran, name: str = "flip.test") -> Reference:
        key = self.prelude, name
        if key not in self.references:
            self.references[key] = Reference(self.model, self.pairs(ran, name))
        return self.references[key]


def bench(folder: Path, name: str, bos: bool | None = None) -> Bench:
    return Bench(name, family_folder(folder, name, bos))


def by_name(factory: pytest.TempPathFactory, prelude: str = PRELUDE) -> Callable[[str], Bench]:
    """Benches by their family's name, each made once."""

    @cache
    def of(name: str) -> Bench:
        made = bench(factory.mktemp(name), name)
        made.prelude = prelude
        return made

    return of


def program(
    arms: Sequence[Arm], directions: Sequence[Direction], metrics: str = "logit_diff, kl"
) -> str:
    """The text of a measure with these arms, `a0`, `a1`, ..."""
    used = {do.along for arm in arms for do in arm.interventions()}
    lines = [f"subspace {d.name} = {d.text}" for d in directions if d.name in used]
    inside = []
    for i, arm in enumerate(arms):
        text = str(arm)
        if arm.way is not None and arm.does:
            lines.append(f"path p{i} = {arm.way}")
            text = " + ".join([f"p{i}", *map(str, arm.does)])
        inside.append(f"  a{i} = {text}")
    return "\n".join([*lines, "measure m on flip.test {", *inside, f"  report {metrics}", "}", ""])


def problems(
    bench: Bench, arms: Sequence[Arm], directions: Sequence[Direction], backend: str
) -> list[str]:
    """Where a backend and the oracle differ, or why an arm can't be run: a line for each arm."""
    try:
        ran = bench.run(program(arms, directions), backend)
    except Exception as error:
        if len(arms) == 1:
            return [f"{arms[0]}: {_said(error)}"]
        half = len(arms) // 2
        parts = arms[:half], arms[half:]
        return [line for part in parts for line in problems(bench, part, directions, backend)]
    reference = bench.reference(ran)
    bases = {d.name: ran.basis(d.name) for d in directions if d.name in ran.session.graph.made}
    clean, *wanted = reference.logits([Arm(), *map(_known, arms)], bases)
    lines = _apart("clean", ran.arm("m", "clean")[0], reference, clean, clean)
    for i, (arm, logits) in enumerate(zip(arms, wanted, strict=True)):
        found, _ = ran.arm("m", f"a{i}")
        if any(do.verb == "resample" for do in arm.does):
            lines += _resampled(arm, found, reference, bases)
        else:
            lines += _apart(str(arm), found, reference, logits, clean)
    return lines


def _known(arm: Arm) -> Arm:
    """The arm; nothing for one whose values are drawn, which is compared in its own way."""
    return Arm() if any(do.verb == "resample" for do in arm.does) else arm


def _apart(
    name: str, found: Mapping[str, Tensor], reference: Reference, logits: Tensor, clean: Tensor
) -> list[str]:
    wanted = {"logit_diff": reference.logit_diff(logits), "kl": kl(clean, logits)}
    lines = []
    for metric, right in wanted.items():
        if metric in found:
            error = (found[metric] - right).abs().max() / right.abs().max().clamp_min(1.0)
            if not error < CLOSE:
                mean = float(found[metric].mean()), float(right.mean())
                means = f"mean {mean[0]:.6g}, oracle {mean[1]:.6g}"
                lines.append(f"{name}: {metric} off by {error:.2g} ({means})")
    if name != "clean" and (logits - clean).abs().max() < CHANGED:
        lines.append(f"{name}: changes nothing, so it shows nothing")
    return lines[:1]


def _resampled(
    arm: Arm, found: Mapping[str, Tensor], reference: Reference, bases: Mapping[str, Tensor]
) -> list[str]:
    """Each base must have the value of another one, each of another, along one cycle."""
    (do,) = arm.does
    logits = reference.resampled(do.at, bases[do.along] if do.along else None)
    count = len(logits)
    taken = {}
    for row in range(count):
        differences = torch.stack(
            [reference.logit_diff(logits[:, other])[row] for other in range(count)]
        )
        apart = (differences - found["logit_diff"][row]).abs()
        taken[row] = int(apart.argmin())
        if not apart.min() < CLOSE or taken[row] == row:
            return [f"{arm}: pair {row} has no other base's value ({apart.min():.2g} off)"]
    row, seen = 0, []
    while row not in seen:
        seen.append(row)
        row = taken[row]
    return [] if len(seen) == count else [f"{arm}: not one cycle: {taken}"]


def _said(error: Exception) -> str:
    """One line: what kind of failure, and its message."""
    help = getattr(error, "help", None)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}" + (
        f" ({help})" if help else ""
    )
