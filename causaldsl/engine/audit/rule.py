"""The rule of the illusion audit: from measured shares to a verdict and its text.

For a patch that moves an activation by c = Q Q^T (x_source - x), with effects measured end to end::

    row share      effect of patching along row(W_out, v) alone         / effect of v
    active share   effect of the part of c along the natural change m   / effect of v
    whole share    effect of patching the whole site                    / effect of v
    neuron share   how much of the movement of neurons, as W_out writes it along the patch's output,
                   is movement that they make naturally:  sum_j min(|p_j|, |n_j|) [p_j n_j > 0]
                   / sum_j |p_j|,  p_j and n_j the mean writing of neuron j, patched and natural

- The patch pushes what W_out sees of v 1 / (row share) times as far as it moves on the data. Below
  a half, most of the effect has its step from a part that W_out cannot see, and its push from a
  part that hardly moves on the data.
- A high row share says that what W_out sees of v moves by itself as far as the patch pushes it. If
  v has a large part that W_out does not see, this holds for any direction with the same row part,
  the feature's and an illusion's alike. What decides then is where in the layer the patch acts: in
  the neurons that write the output along the same line naturally, or in others.

None of this proves anything: see ``CAVEAT``. Texts word the constants that the rule compares with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from causaldsl.engine.bootstrap import Estimate

NOTHING = 0.05
"""An effect is one if its interval lies above this share of the clean logit difference."""
FEW = 10
"""With fewer pairs a bootstrap interval is far too narrow; with one pair it has no width at all."""
HALF, THIRD = 1 / 2, 1 / 3
MOST = 0.8
"""A larger share is "nearly all" of an effect, or of the movement of neurons."""
HIDDEN = 0.25
"""The null part of v is large from this squared norm on."""

_SHARES = {1 / 4: "a quarter", 1 / 3: "a third", 1 / 2: "half"}
_SHARES |= {2 / 3: "two thirds", 3 / 4: "three quarters"}

CAVEAT = (
    "This is evidence, not proof. Wu et al. (arXiv 2401.12631) argue that a large null-space part "
    "and activity off the data's distribution are no flaw in themselves; Makelov, Lange and Nanda "
    "(arXiv 2311.17030) argue why they should worry."
)


@dataclass(frozen=True)
class Facts:
    """The numbers that the rule reads; None where the site has no such number.

    ``hidden`` is the squared norm of v's null part, ``rank`` that of W_out. ``sampled`` is False
    for a toy model, whose inputs are not drawn from anything.
    """

    effect: Estimate
    whole: Estimate | None
    active: Estimate | None
    row: Estimate | None = None
    neurons: Estimate | None = None
    hidden: float = 0.0
    rank: int = 0
    sampled: bool = True


@dataclass(frozen=True)
class Decision:
    """A verdict, the rule that gave it in words, and the names of the evidence that it rests on."""

    verdict: str
    rule: str
    decided_by: tuple[str, ...]


def share(of: float) -> str:
    """A share in words, as 1/3 is "a third"; in digits where there are none."""
    return next((words for value, words in _SHARES.items() if math.isclose(value, of)), f"{of:g}")


def times(factor: float) -> str:
    """A factor in words: "twice", "2.5 times"."""
    return "twice" if factor == 2 else f"{factor:g} times"


def decide(facts: Facts) -> Decision:
    """The verdict on a subspace."""
    if facts.sampled and facts.effect.n < FEW:
        rule = (
            f"It was measured on {facts.effect.n} pair{'s' * (facts.effect.n != 1)}: an interval "
            f"over fewer than {FEW} says too little for a verdict."
        )
        return Decision("inconclusive", rule, ("subspace effect",))
    if facts.effect.low <= NOTHING:
        return Decision("inconclusive", _nothing(facts.effect), ("subspace effect",))
    if facts.row is None:
        return _without_matrix(facts)
    if facts.row.high < HALF:
        rule = (
            f"Its effect is more than {times(1 / HALF)} that of its row part alone: the rest is "
            "pushed by a part that W_out cannot see."
        )
        return Decision("illusory", rule, ("row part alone",))
    if facts.row.low <= MOST:
        rule = (
            f"Its row part alone has neither clearly less than {share(HALF)} of its effect nor "
            f"clearly more than {share(MOST)} of it."
        )
        return Decision("inconclusive", rule, ("row part alone",))
    if facts.hidden >= HIDDEN:
        return _one_output(facts) if facts.rank == 1 else _by_neurons(facts)
    if _dormant(facts):
        rule = (
            f"W_out sees nearly all of it, but the whole component has less than {share(HALF)} of "
            "its effect and the part of v along which the classes differ less than "
            f"{share(THIRD)}: it is dormant."
        )
        return Decision("illusory", rule, ("whole component", "active part"))
    rule = "W_out sees nearly all of it, and what W_out sees keeps the effect when patched alone."
    return Decision("faithful", rule, ("null norm", "row part alone"))


def _nothing(effect: Estimate) -> str:
    if effect.high < 0:
        return "Patching it pushes the output away from the source, so there is nothing to explain."
    return f"Its effect is not clearly above {NOTHING:g}: there is nothing to explain."


def _one_output(facts: Facts) -> Decision:
    """W_out writes a single number, so that its row space is one line whatever the feature is."""
    assert facts.active is not None
    names = ("active part",)
    if facts.active.high < THIRD:
        rest = share(1 - THIRD).split()[0]  # two, of thirds that have just been named
        rule = (
            "W_out has a single output, so the row part can't tell; but the part of v along which "
            f"the data vary gives less than {share(THIRD)} of the effect, the dormant rest more "
            f"than {rest}."
        )
        return Decision("illusory", rule, names)
    if facts.active.low > THIRD:
        rule = (
            "W_out has a single output, so the row part can't tell; the part of v along which the "
            f"data vary gives more than {share(THIRD)} of the effect."
        )
        return Decision("faithful", rule, names)
    third = share(THIRD).replace("a ", "one ")
    rule = f"The interval of the active part's share of the effect contains {third}."
    return Decision("inconclusive", rule, names)


def _by_neurons(facts: Facts) -> Decision:
    """The row part keeps the effect, but v has a large part besides it."""
    names = ("row part alone", "null norm", "natural neurons")
    neurons = facts.neurons
    about = "Its row part alone keeps the effect, but any direction with that row part would; "
    if neurons is not None and neurons.high < THIRD:
        rule = (
            f"{about}less than {share(THIRD)} of its movement of neurons is one that they make "
            "naturally."
        )
        return Decision("illusory", rule, names)
    if neurons is not None and neurons.low > MOST:
        rule = about + "it moves the neurons nearly as they move naturally."
        return Decision("faithful", rule, names)
    rule = about + "and it moves the neurons neither as they move naturally nor clearly otherwise."
    return Decision("inconclusive", rule, names)


def _without_matrix(facts: Facts) -> Decision:
    """A site that many matrices read: no row and null parts, but natural and dormant ones."""
    names = ("whole component", "active part")
    if facts.whole is None or facts.active is None:
        return Decision("inconclusive", "There is no natural change to compare with.", names)
    if _dormant(facts):
        rule = (
            f"The whole site has less than {share(HALF)} of its effect, and the part of v along "
            f"which the classes differ less than {share(THIRD)}: the effect comes from a part that "
            "is dormant."
        )
        return Decision("illusory", rule, names)
    if facts.whole.low > HALF and facts.active.low > THIRD:
        rule = (
            f"The whole site has more than {share(HALF)} of its effect, and the part of v along "
            f"which the classes differ more than {share(THIRD)}."
        )
        return Decision("faithful", rule, names)
    rule = "Whole site and active part disagree, or their intervals contain the thresholds."
    return Decision("inconclusive", rule, names)


def _dormant(facts: Facts) -> bool:
    return (
        facts.whole is not None
        and facts.active is not None
        and facts.whole.high < HALF
        and facts.active.high < THIRD
    )
