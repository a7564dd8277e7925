"""A warning about changes that another one of the same run writes over.

Within a block and at one token, all that a head, an attention layer or an MLP works out goes into
what it gives, and all of that into the stream behind. So `patch head[3.1].z + patch attn_out[3]` is
`patch attn_out[3]`. Keys and values are read at later tokens too, so that nothing writes over them.
"""

from __future__ import annotations

from collections import defaultdict

from causaldsl.check.context import Context
from causaldsl.check.generated import Generation
from causaldsl.check.interventions import site_of
from causaldsl.check.measurements import Measurement, Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.values import Applied
from causaldsl.model.sites import Site
from causaldsl.vocabulary.interventions import Ablate, Patch, PatchFrom
from causaldsl.vocabulary.sites import SITES


def warn_of_hidden(context: Context) -> None:
    """Warn of each run that has such a change."""
    program = context.program
    several: list[Measurement | Generation] = [*program.measurements.values()]
    for measured in (*several, *program.generations.values()):
        for run in measured.runs:
            _warn_of_run(context, run, measured.pairs)


def _warn_of_run(context: Context, run: Run, pairs: PairSet) -> None:
    done = [one for one in run.interventions if isinstance(one, Applied)]
    by_layer: dict[int | None, list[Applied]] = defaultdict(list)
    for one in done:  # a set may have hundreds of heads, of which only those of a layer meet
        if _sets_all(one):
            by_layer[site_of(one).site.layer].append(one)
    for one in done:
        behind = by_layer[site_of(one).site.layer]
        over = next((o for o in behind if o is not one and _writes_over(o, one, pairs)), None)
        if over is not None:
            context.warn(
                "hidden-change",
                f"what `{run.label}` does at {site_of(one).site} changes nothing: "
                f"{site_of(over).site} is set behind it",
                run.span,
                "give them arms of their own, or take one out",
            )
            return


def _writes_over(over: Applied, one: Applied, pairs: PairSet) -> bool:
    """Whether nothing is left of ``one`` where ``over``, which sets all, is made."""
    at, behind = site_of(one), site_of(over)
    if not _all_goes_into(at.site, behind.site):
        return False
    assert at.position is not None
    assert behind.position is not None
    return all(
        set(at.position.resolve(prompt)) <= set(behind.position.resolve(prompt))
        for prompt in pairs.side("base")
    )


def _sets_all(change: Applied) -> bool:
    """Whether the activation is another one afterwards, whatever it was."""
    word = change.word
    whole = isinstance(word, (Patch, PatchFrom)) or (
        isinstance(word, Ablate) and word.to != "noise"
    )
    return whole and change.operand("along") is None


def _all_goes_into(one: Site, behind: Site) -> bool:
    """Whether one site acts on the model only through the other, token by token."""
    here, there = SITES[one.kind], SITES[behind.kind]
    if one.layer is None or one.layer != behind.layer or here.attends or here.call or there.call:
        return False
    asks = here.word == "head.q" and there.word == "head.pattern"
    if here.depth >= there.depth and here.into != there.word and not asks:
        return False
    if there.part == "stream":
        return here.part == "attention" or there.word == "resid_post"
    same = here.part == there.part
    return same and (behind.head is None or one.head == behind.head)
