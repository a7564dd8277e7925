"""Named subspaces and numbers, the effect of learned ones, claims, and what plots divide by."""

from __future__ import annotations

from causaldsl.check.checked import Claim, Output
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied
from causaldsl.graph.compiler import Compiler, Fit, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import MeasureWord, inputs_of
from causaldsl.vocabulary.interventions import Patch


@compiles(Applied)
def value(compiler: Compiler, applied: Applied) -> Made:
    return Made("value", compiler.applied(applied))


@compiles(Claim)
def claim(compiler: Compiler, claim: Claim) -> Made:
    return Made("claim", compiler.applied(claim.condition))


@compiles(Output)
def relative(compiler: Compiler, plot: Output) -> Made:
    assert plot.relative is not None
    return Made("relative", compiler.applied(plot.relative))


@compiles(Fit)
def fit(compiler: Compiler, fit: Fit) -> Made:
    """Patch along a learned subspace on its training pairs, and on the held-out ones if any.

    An effect in training alone is an overfit, so the two stand side by side in the results.
    """
    learned = fit.learned
    trained, place = learned.operand("on"), learned.operand("site")
    assert isinstance(trained, PairSet)
    assert isinstance(place, Place)
    parts = {"train": trained}
    for family in compiler.program.families.values():
        if family.train is trained and family.test is not None:
            parts["test"] = family.test
    operands = (("site", place), ("along", learned))
    patch = Applied(Patch(), operands, learned.type, learned.span)
    arms = [
        Run("clean", (), "clean", (), learned.span),
        Run("patched", (patch,), "patched", (), learned.span),
    ]
    word = MeasureWord(metrics=("fldd", "interchange_accuracy"))
    measures = {
        part: compiler.add(word, inputs_of(compiler.runs(arms, pairs)), learned.span)
        for part, pairs in parts.items()
    }
    return Made("fit", fit.key, measures)
