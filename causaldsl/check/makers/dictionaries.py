"""`sae` and `transcoder`: which folder is meant, and what its files say."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.diagnostics import Mistake, located
from causaldsl.model.dictionaries.form import Form
from causaldsl.model.dictionaries.read import read_dictionary
from causaldsl.model.dictionaries.releases import cached_release
from causaldsl.vocabulary.dictionaries import Sae, Transcoder

_KEPT = 64 * 2**20
"""Bytes of weights that a run keeps a copy of, beside its program."""


@makes(Sae)
def sae(context: Context, word: Sae, operands: Operands) -> tuple[Form, str]:
    """What a folder holds, and what identifies it."""
    written, span = operands["folder"]
    with located(span):
        folder = context.readable.subfolder(written, context.folder)
        said, scale = {}, word.scale
        if folder is None:
            found = cached_release(written, word.id)
            folder, said = found.folder, found.said
            scale = scale if scale is not None else found.scale
        elif word.id is not None:
            way = f'write sae("{written}/{word.id}")'
            raise Mistake("bad-option", f"{written} is a folder, which has no `id`", way)
        form, digest = read_dictionary(written, folder, scale, said)
        _check_kind(word, form, written)
        if not said and (folder / form.weights).stat().st_size <= _KEPT:
            for name in (form.config, form.weights):
                context.program.files.setdefault((folder / name).resolve(), f"{written}/{name}")
        return form, digest


def _check_kind(word: Sae, form: Form, written: str) -> None:
    if form.transcoder != isinstance(word, Transcoder):
        kind, other = (
            ("a transcoder", "transcoder") if form.transcoder else ("an autoencoder", "sae")
        )
        if not form.transcoder and form.layout == "dictionary_learning":
            kind = "an autoencoder, as far as its files tell"
        raise Mistake("bad-dictionary", f"{written} holds {kind}", f'write {other}("{written}")')
