"""What counts as one observation: the units of a set of pairs, and the templates they come from.

Pairs that share a prompt are one unit, as are equal lines of a file, a pair and its mirror, and
pairs of one cluster: none of them is new evidence beside the other. Units are drawn within their
templates, for it is new pairs from these templates that an interval speaks of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Units:
    """The unit of every pair, and the stratum and template of every unit, as indices from 0.

    A stratum is a template that has several units; the units of all others are one stratum, since
    a single one shows no spread. ``templates`` are their texts, "" for pairs that have none; a
    template to which no unit counts is none of them. ``mixed`` units are from several templates.
    """

    of_pair: tuple[int, ...]
    strata: tuple[int, ...]
    of_template: tuple[int, ...]
    templates: tuple[str, ...]
    mixed: int = 0

    @property
    def count(self) -> int:
        return len(self.strata)

    @cached_property
    def free(self) -> int:
        """Degrees of freedom: units less strata."""
        return self.count - len(set(self.strata))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many pairs each unit has."""
        counts = Counter(self.of_pair)
        return tuple(counts[unit] for unit in range(self.count))

    @cached_property
    def effective(self) -> float:
        """How many units of equal size a mean over pairs is as sure as."""
        return effective(self.sizes)

    @property
    def from_templates(self) -> int:
        """How many templates the pairs are from; 0 if they say none."""
        return 0 if "" in self.templates else len(self.templates)


def join(groups: Sequence[Sequence[Hashable]]) -> list[int]:
    """The number of each member's component, where members that name the same thing are joined.

    >>> join([["a", "b"], ["c"], ["b", "d"]])
    [0, 1, 0]
    """
    parent: dict[Hashable, Hashable] = {}

    def root(name: Hashable) -> Hashable:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in groups:
        for name in names[1:]:
            parent[root(name)] = root(names[0])
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(root(names[0]), len(numbers)) for names in groups]


def effective(sizes: Sequence[int]) -> float:
    """The effective number of units of these sizes s_u (Kish 1965)::

        (sum_u s_u)^2 / sum_u s_u^2

    It is that of the units where all have one size, and near 1 where one has nearly all pairs.

    >>> effective([2, 2, 2]), round(effective([89] + [1] * 12), 1)
    (3.0, 1.3)
    """
    return sum(sizes) ** 2 / max(1, sum(size * size for size in sizes))


def units_of(named: Sequence[Sequence[Hashable]], templates: Sequence[str]) -> Units:
    """The units of pairs, of which ``named`` says what each is made from, and their templates.

    A unit whose pairs come from several templates counts for the first of them.
    """
    of_pair = join(named)
    first: dict[int, str] = {}
    for unit, template in zip(of_pair, templates, strict=True):
        first.setdefault(unit, template)
    texts = list(dict.fromkeys(first.values()))
    of_template = tuple(texts.index(first[unit]) for unit in range(len(first)))
    both = zip(of_pair, templates, strict=True)
    mixed = len({unit for unit, template in both if template != first[unit]})
    return Units(tuple(of_pair), _strata(of_template), of_template, tuple(texts), mixed)


def apart(count: int) -> Units:
    """So many pairs without templates, each a unit of its own."""
    return units_of([[number] for number in range(count)], [""] * count)


def _strata(of_template: Sequence[int]) -> tuple[int, ...]:
    """Templates with one unit are put together; a single one of these joins the smallest other."""
    sizes = Counter(of_template)
    alone = [template for template, size in sizes.items() if size == 1]
    shared = alone[0] if alone else -1
    if len(alone) == 1 and len(sizes) > 1:
        shared = min((t for t in sizes if t != shared), key=lambda t: sizes[t])
    numbers: dict[int, int] = {}
    found = (shared if template in alone else template for template in of_template)
    return tuple(numbers.setdefault(template, len(numbers)) for template in found)
