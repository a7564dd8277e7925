"""What a word of another package gives is what it declared, or a failure that names it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.answerable import fault, version_of
from causaldsl.engine.here import Here
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.numbers import Verdict
from causaldsl.vocabulary.register import package_of
from causaldsl.vocabulary.types import NumberType, SubspaceType, TruthType, Type

_GIVEN = {SubspaceType: SubspaceValue, TruthType: Verdict}


def check_declared(here: Here[Any], value: Any) -> None:
    """Hold a word of another package to what it declares.

    Raises:
        RunFailure: if it gives another kind of value, had other passes made for it, or changed
            activations that it was given.
    """
    cls, word = type(here.word), here.word.word
    if not package_of(cls):
        return
    if any(version_of(one) != version for one, version in here.given):
        raise fault(cls, word, "it changes activations that others read too; change a copy")
    passes = here.word.passes() if here.word.training(None) is None else ()
    edits = sum(not one.backward for one in passes)
    if here.made.edits != edits:
        raise fault(cls, word, f"its `passes` are {edits}, and it made {here.made.edits}")
    if any(one.backward for one in passes) and not here.made.gradients:
        raise fault(cls, word, "it declares gradients and takes none")
    declared = here.session.graph.types.get(here.key)
    if declared is not None:
        _check_value(here, declared, value)


def _check_value(here: Here[Any], declared: Type, value: Any) -> None:
    cls, word = type(here.word), here.word.word
    if isinstance(declared, NumberType):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise fault(cls, word, f"it should give a number, and gave {_what(value)}")
        if not math.isfinite(value):
            raise fault(cls, word, f"it gave {value}, which is no number")
        return
    wanted = PreparedEdit if here.word.changes else _GIVEN.get(type(declared))
    if wanted is not None and not isinstance(value, wanted):
        raise fault(cls, word, f"it should give a {wanted.__name__}, and gave {_what(value)}")
    if isinstance(value, SubspaceValue) and isinstance(declared, SubspaceType):
        _check_subspace(here, declared, value)


def _check_subspace(here: Here[Any], declared: SubspaceType, value: SubspaceValue) -> None:
    cls, word, vectors = type(here.word), here.word.word, value.vectors
    if vectors.dim() != 2 or len(vectors) != declared.width or vectors.dtype != torch.float64:
        want = f"({declared.width}, k) in float64"
        raise fault(cls, word, f"its vectors should be {want}, and are {_what(vectors)}")
    if not bool(vectors.isfinite().all()):
        raise fault(cls, word, "some of its vectors are not finite")
    if declared.rank is not None and value.rank > declared.rank:
        raise fault(cls, word, f"it declares rank {declared.rank}, and gave rank {value.rank}")
    if declared.rank is not None and value.rank < declared.rank:
        called = here.session.names.get(here.key, word)
        here.note(f"`{called}` has rank {value.rank}: fewer than the {declared.rank} asked for")


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} in {str(value.dtype).removeprefix('torch.')}"
    return repr(value) if isinstance(value, float | int | None) else type(value).__name__
