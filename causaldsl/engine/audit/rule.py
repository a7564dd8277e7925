"""The rule of the illusion audit: from measured shares to a verdict and its text.

Two testimonies are heard, each on whether the patch moves what moves by itself. Effects are
measured end to end, and shares are shares of v's effect. c is what the patch adds.

neurons (`mlp_hidden` only)
    *natural neurons*: how much of the mean movement of neurons, as W_out writes it along the
    patch's output, is movement that they make naturally. *clip*: c cut, pair by pair and neuron by
    neuron, to what lies between 0 and the pair's own movement.
components
    The part of c in the principal components that hold 99%, or 99.9%, of the activations' variance:
    its share of the effect, and of c's squared length; and what is left of the effect if it is cut
    there to the pair's own movement, component by component.

Each knows what it can't tell and then says neither. The neurons can't where a feature is spread
over all of them: their numbers lie in the middle for features and illusions alike. The components
can't where two directions hardly vary apart from each other; then what of c lies in them is all
along the mean change (``along``), and only the difference of the two is missing, which looks
dormant. They can't where the whole site does far more than c: the natural change that is a part of
c then leaks into all shares. What other evidence is fooled by, and so does not decide, is in
docs/audit.md.

If both testify they must agree; a contradiction is inconclusive. "Below" and "above" mean the whole
interval. Every clause of a verdict is a :class:`Finding` and is made from the numbers compared.
An inconclusive one is decided by the conditions that are not met, and says which and by how much.
"""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.engine.audit.findings import Finding, Lacks, number, share
from causaldsl.engine.bootstrap import Estimate
from causaldsl.vocabulary.audits import HELD

NEURONS, CLIP = "natural neurons", "clip"
FIRST, SECOND = "principal components", "more principal components"
WITHIN, WHOLE = "clip in components", "whole component"
LENGTH, APART = "length in them", "along the mean change"
"""Names of the evidence that the rule reads; the last two are details of ``FIRST``."""
_NEURONS, _COMPONENTS = "neurons", "principal components"
_TO = {"faithful": "a feature", "illusory": "an illusion"}

_FIRST, _SECOND = (
    f"in the components that hold {held} of the variance"
    for held in (f"{HELD[0]:.0%}", f"{HELD[1]:.1%}")
)
_MOVES = Lacks(
    "{than} of its movement of neurons {is} movement that they make by themselves", ("is", "may be")
)
_KEEP = ("keeps", "may keep")
_KEEPS, _CUT = (
    Lacks(f"cut to what each {what} does by itself it {{is}} {{than}} of its effect", _KEEP)
    for what in ("neuron", "component")
)
_SOME, _MORE = (
    Lacks(f"{{than}} of its effect {{is}} {where}", ("lies", "may lie"))
    for where in (_FIRST, _SECOND)
)
_LONG = Lacks(f"{{than}} of its squared length {{is}} {_FIRST}", ("lies", "may lie"))
_BESIDE = Lacks("the whole component {is} {than} of its effect", ("has", "may have"))
_LINE = Lacks(
    "{than} of its part in them {is} along the mean change, from which nothing else can be told "
    "apart",
    ("is", "may be"),
)
"""What is said of the conditions that are not met."""

CAVEAT = (
    "This is evidence, not proof. Wu et al. (arXiv 2401.12631) argue that a large null-space part "
    "and activity off the data's distribution are no flaw in themselves; Makelov, Lange and Nanda "
    "(arXiv 2311.17030) argue why they should worry."
)


@dataclass(frozen=True)
class Bounds:
    """Every constant of the rule, so that it can be asked what others would have said."""

    nothing: float = 0.05
    """An effect is one if its interval lies above this share of the clean logit difference."""
    few: int = 10
    """With fewer pairs a bootstrap interval is far too narrow; with one it has no width at all."""
    low: float = 1 / 3
    """A smaller share of the effect points to an illusion."""
    half: float = 1 / 2
    """What the cut in the principal components must leave of a feature's effect."""
    left: float = 2 / 3
    """What it must take away of an illusion's effect: no more than this is left."""
    high: float = 2 / 3
    """A larger share in the principal components points to the feature."""
    most: float = 0.8
    """A larger share of the neurons' movement, and of the effect after the cut, points to it."""
    natural: float = 0.8
    """Natural neurons above it speak against an illusion, however little the cut leaves."""
    top: float = 4 / 3
    """A part that does more than this many times the whole is undone by the rest: a mismatch."""
    apart: float = 0.9
    """With more than this of it along the mean change, what is in the components is one line."""


@dataclass(frozen=True)
class Facts:
    """The numbers that the rule reads; None where the site has no such number.

    ``first`` and ``second`` are the shares of the effect in the principal components, ``length``
    and ``along`` the share of c's squared length in the first ones, and how much of that lies
    along the mean change. ``within`` is the share of c cut in the second components, component by
    component, to the pair's own movement; ``whole`` that of the whole site. ``sampled`` is False
    for a toy model, whose inputs are not drawn.
    """

    effect: Estimate
    first: Estimate | None = None
    second: Estimate | None = None
    within: Estimate | None = None
    whole: Estimate | None = None
    length: float = 0.0
    along: float = 1.0
    neurons: Estimate | None = None
    clip: Estimate | None = None
    sampled: bool = True


@dataclass(frozen=True)
class Testimony:
    """What ``of``, a group of evidence, says, and the findings that it says it for.

    Where it says neither, ``lacking`` are the conditions of a verdict that are not met: of the one
    that it comes close to, or of both.
    """

    of: str
    verdict: str = "neither"
    findings: tuple[Finding, ...] = ()
    lacking: tuple[tuple[str, tuple[Finding, ...]], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        lacking = [finding for _, findings in self.lacking for finding in findings]
        return tuple(dict.fromkeys(finding.name for finding in [*self.findings, *lacking]))

    @property
    def words(self) -> str:
        return "; ".join(finding.words for finding in self.findings if finding.words)


@dataclass(frozen=True)
class Decision:
    """A verdict, its rule in words, and the evidence it rests on or that stands in its way."""

    verdict: str
    rule: str
    decided_by: tuple[str, ...]


def decide(facts: Facts, bounds: Bounds | None = None) -> Decision:
    """The verdict on a subspace."""
    bounds = bounds or Bounds()
    effect, name = facts.effect, ("subspace effect",)
    if facts.sampled and effect.n < bounds.few:
        rule = (
            f"It was measured on {effect.n} independent pair{'s' * (effect.n != 1)}: an interval "
            f"over fewer than {bounds.few} says too little for a verdict."
        )
        return Decision("inconclusive", rule, name)
    if effect.low <= bounds.nothing:
        return Decision("inconclusive", _nothing(effect, bounds), name)
    heard = [one for one in (by_neurons(facts, bounds), by_components(facts, bounds)) if one]
    said = [one for one in heard if one.verdict != "neither"]
    names = tuple(name for one in said or heard for name in one.names) or name
    if not said:
        return Decision("inconclusive", _undecided(heard), names)
    if len({one.verdict for one in said}) == 2:
        first, second = said
        rule = (
            f"Two pieces contradict each other. {_sentence(first)} {_sentence(second)} The first "
            f"points to {_TO[first.verdict]} ({_numbers(first)}), the second to "
            f"{_TO[second.verdict]} ({_numbers(second)})."
        )
        return Decision("inconclusive", rule, names)
    return Decision(said[0].verdict, " ".join(map(_sentence, said)), names)


def by_neurons(facts: Facts, bounds: Bounds) -> Testimony | None:
    """Whether the patch moves neurons as they move; None where there are no such numbers."""
    if facts.neurons is None or facts.clip is None:
        return None
    most, low = bounds.most, bounds.low
    own = f"more than {share(most)} of its movement of neurons is movement that they make by"
    kept = f"cut to what each neuron does by itself it keeps more than {share(most)} of its effect"
    lost = f"cut to what each neuron does by itself it keeps less than {share(low)} of its effect"
    feature = (
        Finding(NEURONS, facts.neurons, False, most, _MOVES, f"{own} themselves", speaks=True),
        Finding(CLIP, facts.clip, False, most, _KEEPS, kept, speaks=True),
        Finding(CLIP, facts.clip, True, bounds.top, _KEEPS),
    )
    illusion = (
        Finding(CLIP, facts.clip, True, low, _KEEPS, lost, speaks=True),
        Finding(NEURONS, facts.neurons, True, bounds.natural, _MOVES, clearly=True),
    )
    return _testimony(_NEURONS, feature, illusion)


def by_components(facts: Facts, bounds: Bounds) -> Testimony | None:
    """Whether the patch stays where activations vary; None where there are no such numbers."""
    first, second, within, whole = facts.first, facts.second, facts.within, facts.whole
    if first is None or second is None or within is None or whole is None:
        return None
    high, low, half = bounds.high, bounds.low, bounds.half
    where = (
        "of its effect lies in the activations' principal components, those that hold "
        f"{HELD[0]:.0%} of the variance and those that hold {HELD[1]:.1%}"
    )
    most, least = (
        f"{than} {where}" for than in (f"more than {share(high)}", f"less than {share(low)}")
    )
    kept = f"cut there to what each does by itself it keeps more than {share(half)} of it"
    feature = (
        Finding(FIRST, first, False, high, _SOME, most, speaks=True),
        Finding(FIRST, first, True, bounds.top, _SOME),
        Finding(FIRST, facts.length, False, high, _LONG),
        Finding(SECOND, second, False, high, _MORE, speaks=True),
        Finding(SECOND, second, True, bounds.top, _MORE),
        Finding(WITHIN, within, False, half, _CUT, kept),
        Finding(WHOLE, whole, True, bounds.top, _BESIDE),
    )
    illusion = (
        Finding(FIRST, first, True, low, _SOME, least, speaks=True),
        Finding(SECOND, second, True, low, _MORE, speaks=True),
        Finding(WITHIN, within, True, bounds.left, _CUT),
        Finding(FIRST, facts.along, True, bounds.apart, _LINE, clearly=True),
    )
    return _testimony(_COMPONENTS, feature, illusion)


def _testimony(of: str, feature: tuple[Finding, ...], illusion: tuple[Finding, ...]) -> Testimony:
    """What the conditions of both sides come to; where neither's all hold, those that do not.

    They are those of the one side that something speaks for; of two, the one that lacks less.
    """
    sides = {"faithful": feature, "illusory": illusion}
    for verdict, findings in sides.items():
        if all(finding.holds for finding in findings):
            return Testimony(of, verdict, tuple(f for f in findings if not f.clearly))
    lacking = {side: tuple(f for f in all_ if not f.holds) for side, all_ in sides.items()}
    spoken = [side for side, all_ in sides.items() if any(f.speaks and f.holds for f in all_)]
    counts = {side: len({finding.name for finding in lacking[side]}) for side in spoken}
    near = [side for side in spoken if counts[side] == min(counts.values())]
    shown = near if len(near) == 1 else list(sides)
    return Testimony(of, lacking=tuple((side, lacking[side]) for side in shown))


def _nothing(effect: Estimate, bounds: Bounds) -> str:
    if effect.high < 0:
        return (
            f"Patching it pushes the output away from the source, as no feature does: "
            f"{number(effect, 0)}."
        )
    is_ = "is" if effect.high <= bounds.nothing else "may be"
    return (
        f"Its effect is not clearly above {bounds.nothing:g}, so there {is_} nothing to explain: "
        f"{number(effect, bounds.nothing)}."
    )


def _undecided(heard: list[Testimony]) -> str:
    if not heard:
        return "There is no natural movement to compare it with."
    return " ".join(map(_lacking, heard))


def _lacking(of: Testimony) -> str:
    """What stands in the way of a verdict by one testimony, with its numbers."""
    who = f"{of.of[0].upper()}{of.of[1:]}"
    said = [
        (_TO[verdict], "; ".join(finding.lacking for finding in findings))
        for verdict, findings in of.lacking
    ]
    if len(said) == 1:
        ((to, why),) = said
        return f"{who} would point to {to}, but {why}."
    (to, why), (other, why_not) = said
    return f"{who} point neither to {to} ({why}) nor to {other} ({why_not})."


def _sentence(of: Testimony) -> str:
    words = of.words
    return f"{words[0].upper()}{words[1:]}."


def _numbers(of: Testimony) -> str:
    """The evidence of a testimony, each number once."""
    found: dict[str, str] = {}
    for one in of.findings:
        if isinstance(one.value, Estimate):
            found.setdefault(one.name, f"{one.name} {number(one.value, one.bound)}")
    return ", ".join(found.values())
