"""Prompts and pairs of prompts, tokenized, with every position resolved to a token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from causaldsl.check.kinds import Value
from causaldsl.check.units import Units, units_of
from causaldsl.diagnostics import Mistake


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    ``ids`` are its tokens (for a toy model its single input value); ``positions`` names token
    indices; ``cls`` is the label of its class, compared as it is; "" if nothing says one.
    ``behind`` is what a chat template puts behind the text.
    """

    text: str
    ids: tuple[float, ...]
    positions: tuple[tuple[str, int], ...] = ()
    cls: str = ""
    behind: str = ""

    @property
    def end(self) -> str:
        """The text that an answer follows."""
        return self.behind or self.text

    @property
    def begins_line(self) -> bool:
        """Whether an answer begins a line, where some tokenizers have other tokens for a word."""
        return self.end.endswith("\n")

    @property
    def length(self) -> int:
        return len(self.ids)

    @cached_property
    def named(self) -> dict[str, int]:
        return {"END": self.length - 1} | dict(self.positions)


def check_length(prompt: Prompt, n_ctx: int) -> Prompt:
    """The prompt, if the model can read it whole."""
    if prompt.length > n_ctx:
        raise Mistake(
            "too-long",
            f"a prompt of {prompt.length} tokens is longer than the model's context of {n_ctx}",
            f"it begins: {prompt.text[:60]}",
        )
    return prompt


def shape_of(pattern: str) -> str:
    """A pattern with its letters renamed in order of appearance.

    >>> shape_of("DCD"), shape_of("ABA")
    ('ABA', 'ABA')
    """
    names: dict[str, str] = {}
    return "".join(names.setdefault(letter, chr(ord("A") + len(names))) for letter in pattern)


NO_TOKEN = -1
"""Stands for the foil of a pair that has none: whatever takes it for a token fails."""


@dataclass(frozen=True)
class Pair:
    """A base and a source prompt.

    ``answer`` and ``foil`` are the base's, ``counterfactual`` is what the high-level model says for
    the base with the variable taken from the source; all three are token ids. ``template`` is the
    text that it was made from, with its slots; pairs of one ``cluster`` are no new evidence.
    ``spelled`` are all tokens of answer and foil where one of them has several; ``answer`` and
    ``foil`` are then their first ones. ``sets`` are all answers and all foils, a token each, where
    there are several of one of them, or no foil; ``answer`` and ``foil`` are then the first ones,
    or ``NO_TOKEN``. ``others`` are all sources by their names, where they have names; the first of
    them is ``source``, if nothing else is.
    """

    base: Prompt
    source: Prompt
    answer: int
    foil: int
    counterfactual: int
    template: str = ""
    cluster: str = ""
    spelled: tuple[tuple[int, ...], ...] = ()
    sets: tuple[tuple[int, ...], ...] = ()
    others: tuple[tuple[str, Prompt], ...] = ()

    def prompt(self, side: str) -> Prompt:
        """The base, the source, or the source of a name."""
        return {"base": self.base, "source": self.source, **dict(self.others)}[side]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All of them."""
        return self.base, self.source, *dict(self.others).values()

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """All answers, and all foils."""
        return self.sets or ((self.answer,), (self.foil,))

    @property
    def wholes(self) -> tuple[tuple[int, ...], ...]:
        """All tokens of the answer, and of the foil."""
        return self.spelled or ((self.answer,), (self.foil,))

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """What makes it one unit with other pairs that name the same: its prompts and cluster."""
        cluster = (("cluster", self.cluster),) if self.cluster else ()
        prompts = dict.fromkeys(prompt.text for prompt in self.prompts)
        return *(("prompt", text) for text in prompts), *cluster

    @property
    def identity(self) -> tuple[str, str]:
        """The two prompts, whichever is the base: a pair and its reverse teach the same."""
        return _either_way(self.base, self.source)

    @property
    def exchanges(self) -> frozenset[tuple[str, str]]:
        """The same of the base with each of its sources: all that can be learned from it."""
        return frozenset(_either_way(self.base, other) for other in self.prompts[1:])


def _either_way(one: Prompt, other: Prompt) -> tuple[str, str]:
    first, second = sorted((one.text, other.text))
    return first, second


def answered(
    base: Prompt,
    source: Prompt,
    sets: Sequence[tuple[int, ...]],
    counterfactual: int | None = None,
    template: str = "",
    cluster: str = "",
    spelled: tuple[tuple[int, ...], ...] = (),
) -> Pair:
    """A pair with all its answers and all its foils, of which there may be none.

    Without a counterfactual answer, that is the foil.
    """
    answers, foils = (tuple(dict.fromkeys(members)) for members in sets)
    foil = foils[0] if foils else NO_TOKEN
    if counterfactual is None:
        counterfactual = foil
    plain = len(answers) == len(foils) == 1
    several = () if plain else (answers, foils)
    return Pair(base, source, answers[0], foil, counterfactual, template, cluster, spelled, several)


@dataclass(frozen=True)
class PairSet(Value):
    """Pairs under one name, such as `flip.test`.

    ``patterns``: its classes are patterns of templates, which count by their shape. Without
    ``paired`` there are only bases, and each pair has its base as its source too. ``original`` are
    the pairs whose answers are spelled out here, a token in each row. With ``where`` a run
    keeps only the pairs that its model gets right (``engine/right.py``), in a set without it.
    """

    kind = "pairs"
    name: str
    pairs: tuple[Pair, ...]
    patterns: bool = False
    paired: bool = True
    original: PairSet | None = field(default=None, compare=False, repr=False)
    where: str = ""

    @cached_property
    def agreeing(self) -> set[tuple[Any, bool]]:
        """The positions that :func:`~causaldsl.check.agreement.check_place` found in all prompts,
        each with whether it compared base and source: what is right of a set of pairs stays so."""
        return set()

    @cached_property
    def spelled(self) -> bool:
        """Whether some answer or foil has several tokens."""
        return any(pair.spelled for pair in self.pairs)

    @cached_property
    def sets(self) -> bool:
        """Whether some answer or foil is one of several."""
        return any(len(members) > 1 for pair in self.pairs for members in pair.sets)

    @cached_property
    def foils(self) -> bool:
        """Whether answers have foils."""
        return not any(pair.foil == NO_TOKEN for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def side(self, side: str) -> list[Prompt]:
        """The bases, the sources, or the sources of a name, in order."""
        return [pair.prompt(side) for pair in self.pairs]

    @property
    def prompts(self) -> Iterator[Prompt]:
        """All prompts of all pairs."""
        return (prompt for pair in self.pairs for prompt in pair.prompts)

    @cached_property
    def sources(self) -> dict[str, str]:
        """Sources by their names, each with the side that it is: `source` is one of them too."""
        named = [name for name, _ in self.pairs[0].others] if self.pairs else []
        plain = [replace(pair.source, cls="") for pair in self.pairs]
        return {name: "source" if self.side(name) == plain else name for name in named}

    @property
    def split(self) -> str:
        """`train` or `test` of a family's part, else ""."""
        part = self.name.rpartition(".")[2]
        return part if part in ("train", "test") and part != self.name else ""

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of its prompts, in alphabetical order; none if not every prompt has one."""
        found = {prompt.cls for pair in self.pairs for prompt in (pair.base, pair.source)}
        return () if "" in found else tuple(sorted(found))

    def class_named(self, text: str) -> str | None:
        """The class that a program means by ``text``: CDD is ABB where classes are patterns."""
        if text in self.classes or not self.patterns:
            return text if text in self.classes else None
        return next((cls for cls in self.classes if shape_of(cls) == shape_of(text)), None)

    @cached_property
    def units(self) -> Units:
        """What of its pairs counts as one observation, and the templates that they are from."""
        return units_of([pair.named for pair in self.pairs], [p.template for p in self.pairs])

    @cached_property
    def both_ways(self) -> tuple[Pair, Pair] | None:
        """Two pairs that run in opposite directions: between the same classes or prompts."""
        first: dict[tuple[str, str], Pair] = {}
        for pair in self.pairs:
            base, source = (p.cls or p.text for p in (pair.base, pair.source))
            if base != source and (other := first.get((source, base))):
                return other, pair
            first.setdefault((base, source), pair)
        return None

    @cached_property
    def digest(self) -> str:
        """Identifies the pairs by their content, whatever they are called."""
        lines = [*self.lines(), *([f"where {self.where}"] if self.where else [])]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def lines(self) -> list[str]:
        """The pairs as JSON, one line each, as they are saved with a run."""
        return [
            json.dumps(
                {
                    "base": pair.base.text,
                    "source": pair.source.text,
                    "base_tokens": pair.base.ids,
                    "source_tokens": pair.source.ids,
                    "answer": pair.answer,
                    "foil": pair.foil,
                    "counterfactual_answer": pair.counterfactual,
                    "base_positions": pair.base.named,
                    "source_positions": pair.source.named,
                    "base_pattern": pair.base.cls,
                    "source_pattern": pair.source.cls,
                    "template": pair.template,
                    "cluster": pair.cluster,
                }
                | ({"spelled": pair.spelled} if pair.spelled else {})
                | ({"sets": pair.sets} if pair.sets else {})
                | ({"sources": list(map(_content, pair.others))} if pair.others else {}),
                ensure_ascii=False,
            )
            for pair in self.pairs
        ]

    @cached_property
    def texts(self) -> frozenset[str]:
        """The texts of all prompts, of either side."""
        return frozenset(prompt.text for prompt in self.prompts)

    @cached_property
    def identities(self) -> frozenset[tuple[str, str]]:
        return frozenset(pair.identity for pair in self.pairs)


def _content(named: tuple[str, Prompt]) -> list[Any]:
    """A source by its name, for the digest of pairs."""
    name, prompt = named
    return [name, prompt.text, prompt.ids, prompt.named]


@dataclass(frozen=True)
class Sample:
    """Texts that the model itself writes: how many, of how many tokens, from which seed.

    ``bos`` is what the program says of the token that they begin with.
    """

    count: int
    length: int
    seed: int
    bos: bool | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PromptSet(PairSet):
    """Prompts without answers, each as a pair with itself, for words that only read activations.

    With ``sample`` the run writes the texts; until then only their lengths are right.
    """

    kind = "prompts without answers"
    sample: Sample | None = None
    written: bool = False
    """Whether the model wrote them: what a program says of them is then how, not what."""

    @cached_property
    def digest(self) -> str:
        if self.sample is None:
            return PairSet(self.name, self.pairs).digest
        return hashlib.sha256(f"{self.sample} {self.sample.bos}".encode()).hexdigest()[:16]


def together(left: PairSet, right: PairSet) -> PairSet:
    """The pairs of both, in order: several tasks at once.

    Raises:
        Mistake: if not the same can be asked of both.
    """
    both = (left, right)
    apart = {
        "one of them has sources, and the other none": left.paired != right.paired,
        "their sources have other names": [*left.sources] != [*right.sources],
        "one of them has foils, and the other none": left.foils != right.foils,
        "their answers have several tokens": any(one.spelled for one in both),
        "a run chooses among their pairs (`where`)": any(one.where for one in both),
        "they are prompts without answers": any(isinstance(one, PromptSet) for one in both),
        "a pair is in both": bool(set(left.pairs) & set(right.pairs)),
    }
    reason = next((said for said, is_so in apart.items() if is_so), None)
    if reason is not None:
        message = f"`{left.name}` and `{right.name}` can't be put together: {reason}"
        raise Mistake("pairs-apart", message, "take one of them, or write both into one file")
    pairs, patterns = left.pairs + right.pairs, left.patterns and right.patterns
    return replace(left, name=f"{left.name} + {right.name}", pairs=pairs, patterns=patterns)


def prompt_set(
    name: str, prompts: Iterable[Prompt], sample: Sample | None = None, written: bool = False
) -> PromptSet:
    """Prompts without answers under one name."""
    pairs = tuple(Pair(p, p, 0, 0, 0) for p in prompts)
    return PromptSet(name, pairs, paired=False, sample=sample, written=written)
