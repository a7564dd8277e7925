"""`hook` and `random_mlp`: sites that are written as calls."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.places import Place
from causaldsl.diagnostics import Mistake
from causaldsl.model.sites import Site
from causaldsl.vocabulary.makers import Hook, RandomMlp


@makes(Hook)
def hook(context: Context, word: Hook, operands: Operands) -> Place:
    name, span = operands["name"]
    site = Site("hook", hook=name)
    if not site.by_position:
        raise Mistake(
            "not-by-position",
            f"{site} is not one vector a prompt and token",
            "only hooks of shape (prompts, tokens, ...) can be read and written",
        )
    if context.program.model is not None:
        site.check(context.shapes(span))
    return Place(site, None, span)


@makes(RandomMlp)
def random_mlp(context: Context, word: RandomMlp, operands: Operands) -> Place:
    """The hidden layer of a random MLP beside that of a layer."""
    layer, span = operands["layer"]
    site = Site("random_mlp", layer, seed=word.seed)
    site.check(context.shapes(span))
    return Place(site, None, span)
