"""What was said before a run: a program's claims with all that they depend on, in a `.lock` file.

The same program gives the same file on every machine: it has no times, versions or paths, but those
of its imports from the program's folder. White space, comments and names do not enter a claim's
key; whatever could change its number does, for it is the content key of its operation in the graph,
which has the pairs, the model and every option. Of the weights in a local folder it has the two
ends, so the lock has a digest of all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from causaldsl.check.checked import CheckedProgram
from causaldsl.diagnostics import Mistake, Source
from causaldsl.graph.graph import Graph
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.folders import weights_digest
from causaldsl.results.records import Results
from causaldsl.shown import one_line
from causaldsl.syntax.format import format_program
from causaldsl.syntax.recover import read

SUFFIX = ".lock"


class LockedClaim(BaseModel):
    """A claim's text in the house style, and what identifies its meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    key: str


class Lock(BaseModel):
    """A program as it was when its claims were made.

    ``program`` is a digest of all that it measures and draws, by name, ``imports`` of its imports'
    texts in the house style without comments, by their paths from its folder, ``pairs`` of every
    set of pairs by its name, and ``weights`` of every byte of a local folder's weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    program: str
    imports: dict[str, str]
    params: dict[str, float | str]
    model: str
    fingerprint: str
    weights: str = ""
    seed: int
    pairs: dict[str, str]
    claims: list[LockedClaim]

    def text(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def lock_of(program: CheckedProgram, graph: Graph, seed: int = 0) -> Lock:
    """The lock of a program that is run with this seed."""
    model, folder = program.model, os.path.abspath(program.path.parent)
    return Lock(
        program=_made(graph),
        imports={
            Path(os.path.relpath(source.name, folder)).as_posix(): _digest(source)
            for source in program.imports
        },
        params={
            name: value if isinstance(value, float) else str(value)
            for name, value in program.params.items()
        },
        model=model.name if model else "",
        fingerprint=model.shapes.fingerprint if model else "",
        weights=_weights(model),
        seed=seed,
        pairs={pairs.name: pairs.digest for pairs in graph.pair_sets},
        claims=[
            LockedClaim(text=claim.text, key=key)
            for claim, key in zip(program.claims, graph.keys("claim"), strict=True)
        ],
    )


def registered(
    lock: Lock | None, graph: Graph, seed: int, model: ModelSpec | None
) -> list[bool | None]:
    """For each claim of a run, whether the lock has it; None for all where there is no lock."""
    keys = graph.keys("claim")
    if lock is None:
        return [None] * len(keys)
    same = lock.seed == seed and lock.weights == _weights(model)
    known = {claim.key for claim in lock.claims} if same else set()
    return [key in known for key in keys]


def lost(lock: Lock | None, graph: Graph) -> list[str]:
    """A note of the claims that a lock has and a run has not."""
    here = set(graph.keys("claim"))
    count = sum(claim.key not in here for claim in lock.claims) if lock is not None else 0
    verb = "claim on record is" if count == 1 else "claims on record are"
    return [f"{count} {verb} not in this program"] if count else []


def with_registered(
    results: Results, marks: Sequence[bool | None], notes: Sequence[str] = ()
) -> Results:
    """The results with what is registered marked so, and more notes."""
    claims = zip(results.expectations, marks, strict=True)
    marked = [claim.model_copy(update={"registered": mark}) for claim, mark in claims]
    notes = [*results.notes, *notes]
    return results.model_copy(update={"expectations": marked, "notes": notes})


def differences(before: Lock, now: Lock) -> list[str]:
    """What has changed since a program was locked, one line each."""
    found = []
    if before.seed != now.seed:
        found.append(f"the seed was {before.seed} and is {now.seed}")
    if (before.fingerprint, before.weights) != (now.fingerprint, now.weights):
        found.append(f"the model was {before.model} and is {now.model}, or has other weights")
    for what in ("params", "pairs", "imports"):
        found += _changed(what, getattr(before, what), getattr(now, what))
    old, new = ({claim.key: claim.text for claim in lock.claims} for lock in (before, now))
    found += [
        f"the claim is new or means something else: {new[key]}" for key in new if key not in old
    ]
    found += [
        f"the claim is gone or means something else: {old[key]}" for key in old if key not in new
    ]
    if before.program != now.program and not found:
        found.append("the program has changed beside its claims")
    return found


def read_lock(path: Path) -> Lock:
    """The lock in a file. Raises :class:`Mistake`."""
    try:
        return Lock.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        help = f"write one: causaldsl lock {path.with_suffix('.cpatch')}"
        raise Mistake("missing-file", f"there is no {path}", help) from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = one_line(error)
        raise Mistake("unreadable-file", f"{path} is no lock: {reason}") from None


def _changed(what: str, before: dict[str, object], now: dict[str, object]) -> Iterable[str]:
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            shown = f": {before.get(name)} before, {now.get(name)} now" if what == "params" else ""
            yield f"{what.removesuffix('s')} `{name}` is not what it was{shown}"


def _weights(model: ModelSpec | None) -> str:
    """A digest of a local folder's weights; any other model's fingerprint says all of them."""
    if model is None or model.kind != "folder" or model.path is None:
        return ""
    return weights_digest(model.path)[:16]


def _made(graph: Graph) -> str:
    """Of everything beside the claims that a program makes: its name, and what it means."""
    made = [(name, made.kind, made.key) for name, made in graph.made.items()]
    named = sorted(entry for entry in made if entry[1] != "claim")
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def _digest(source: Source) -> str:
    """Of a program's text in the house style, without comments and empty lines."""
    tree, _ = read(source)
    lines = format_program(replace(tree, comments=())).splitlines()
    text = "\n".join(line for line in lines if line.strip())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
