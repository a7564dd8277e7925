"""What each clean run must record, and where edits will start from it.

A clean run happens once; whatever is wanted of it later has to be asked for before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from causaldsl.check.pairs import Prompt
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.request import Asked

BackendOf = Callable[[Sequence[Site]], str]
"""The name of the backend that serves all these sites."""


@dataclass
class Needs:
    """What one clean run on one backend is needed for.

    Sites to record, and sites that edits will change, each in the order in which they are asked
    for; ``frozen`` says whether some run holds components at their values in this one, ``logits``
    whether its own are used, and ``vocabulary`` whether those of the whole vocabulary are.
    """

    reads: dict[SiteAt, None] = field(default_factory=dict)
    edits: dict[SiteAt, None] = field(default_factory=dict)
    frozen: bool = False
    logits: bool = False
    vocabulary: bool = False

    @property
    def whole(self) -> bool:
        """Whether it must reach the end of the model."""
        return self.logits or bool(self.edits)

    def groups(self, prompts: Sequence[Prompt], ragged: bool = True) -> list[list[int]]:
        """Indices of prompts that go together: those whose places have equally many positions, and,
        for a backend that is not ``ragged``, equal lengths."""
        named = dict.fromkeys(at.position for at in [*self.reads, *self.edits])
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, prompt in enumerate(prompts):
            length = 0 if ragged else prompt.length
            shape = (length, *(len(position.resolve(prompt)) for position in named))
            groups.setdefault(shape, []).append(i)
        return list(groups.values())


Key = tuple[str, str]
"""A clean run and a backend."""


def needs_of(asked: Mapping[str, Asked], backends: Mapping[str, str]) -> dict[Key, Needs]:
    """The needs of every (clean run, backend), from what all operations ask, in their order."""
    needs: dict[Key, Needs] = defaultdict(Needs)
    for key, one in asked.items():
        backend = backends.get(key, "")
        for run, place in one.records:
            needs[run, backend].reads[place] = None
        for request in one.requests:
            own = needs[request.clean, backend]
            own.edits |= dict.fromkeys([*request.edits, *request.reads])
            own.frozen |= request.hold is not None
            own.logits |= not request.reads and not request.backward
    return dict(needs)
