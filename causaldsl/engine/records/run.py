"""The run itself: its params, how exact it is, its notes, and what its values depend on."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.metrics import at_chance
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session
from causaldsl.version import VERSION

_ROUGH = 20
"""With fewer units an interval leans on the numbers' being near normal (docs/claims.md)."""

_MIXED = (
    "some values went through the model beside others than this program's, on another machine, or "
    "with other threads"
)


@gathers("params")
def params(program: CheckedProgram, session: Session) -> dict[str, float | str]:
    return program.params


@gathers("precision")
def precision(program: CheckedProgram, session: Session) -> dict[str, Any] | None:
    return None if session.precision is None else asdict(session.precision)


@gathers("notes")
def notes(program: CheckedProgram, session: Session) -> list[str]:
    """What was noted on the way, and on which pairs the model does not do the task at all."""
    return [
        *session.notes,
        *_few(session),
        *(
            f"the model does not do the task of {pairs}: it prefers the answer to the foil in "
            f"{right} of {n} prompts, no better than chance, so effects on it say little"
            for pairs, (right, n) in session.preferred.items()
            if at_chance(right, n)
        ),
    ]


def _few(session: Session) -> list[str]:
    """Which numbers rest on fewer units than there are pairs, mostly on some of them, or on few."""
    said = []
    for pairs in session.measured:
        count, n = len(pairs), pairs.units.count
        if n < count:
            said.append(
                f"{pairs.name}: {count} pairs are {n} unit{'s' * (n != 1)} of every interval; "
                "those that share a prompt or a cluster count once"
            )
        if pairs.units.effective < n / 2:
            said.append(
                f"{pairs.name}: the largest of {n} units has {max(pairs.units.sizes)} of {count} "
                "pairs, so a mean over pairs is mostly about few units, and as unsure as that of "
                f"{pairs.units.effective:.1f} units of one size"
            )
        if n < _ROUGH:
            said.append(f"{pairs.name}: an interval over {n} units, fewer than {_ROUGH}, is rough")
    return said


@gathers("provenance")
def provenance(program: CheckedProgram, session: Session) -> dict[str, Any]:
    spec = session.loaded.spec
    return {
        "causaldsl": VERSION,
        "model": spec.name,
        "fingerprint": spec.shapes.fingerprint,
        **({} if program.tokens is None else {"bos": program.tokens.about_bos}),
        "backend": session.backend_for([]),
        **{name: getattr(session.settings, name) for name in ("device", "dtype", "tf32", "seed")},
        "bootstrap_resamples": session.settings.resamples,
        **({} if session.settings.memory is None else {"memory": session.settings.memory}),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "transformers": version("transformers"),
        "transformer_lens": version("transformer-lens"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "pairs": {
            pairs.name: {
                "n_pairs": len(pairs),
                "units": pairs.units.count,
                "templates": pairs.units.from_templates,
                "digest": pairs.digest,
            }
            for pairs in session.graph.pair_sets
        },
        **({"packages": program.packages} if program.packages else {}),
        **({"store": _MIXED} if session.kept is not None and session.kept.mixed else {}),
        "program_text": program.source.text,
    }
