"""The networkx graph of operations, and what of it the program made under which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import networkx as nx

from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.diagnostics import Span
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.register import BUILT_IN, Vocabulary
from causaldsl.vocabulary.types import Type


@dataclass(frozen=True)
class Made:
    """What one definition of the program was compiled to.

    ``kind`` is the word of its statement: `measure`, `trace`, ...; `value` for a named subspace or
    number, `claim`, `fit` for a learned subspace's effect on its pairs, `relative` for the number
    that a plot is relative to. ``key`` is its operation, ``parts`` are the operations of its arms
    or cells by their names.
    """

    kind: str
    key: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_named(self) -> bool:
        """Whether the program has a name for it."""
        return self.kind not in ("claim", "fit", "relative")


@dataclass
class Graph:
    """The operations of a program, and what each of its definitions was compiled to.

    ``network`` has an operation under each content key (attribute ``operation``) and an edge, with
    its ``role``, from every operation to those that use it. ``made`` has what was made, by name, in
    the order in which it was compiled; ``called`` what the program calls an operation, by its key;
    ``spans`` where an operation was written; ``pairs`` the pairs behind their operations; ``types``
    what applied words were found to give.
    """

    network: nx.MultiDiGraph = field(default_factory=nx.MultiDiGraph)
    made: dict[str, Made] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    pairs: dict[str, PairSet] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=lambda: BUILT_IN)
    """The words that the program knows: its metrics are found here."""

    def add(self, operation: Operation, span: Span | None = None, key: str = "") -> str:
        """Put an operation into the graph, if equal work is not there yet; its key.

        With ``key`` it stands in the place of the operation that has this one.
        """
        key = key or operation.key
        if key not in self.network:
            self.network.add_node(key, operation=operation)
            for taken in operation.inputs:
                self.network.add_edge(taken.key, key, role=taken.role)
            if span is not None:
                self.spans[key] = span
        return key

    def operation(self, key: str) -> Operation:
        operation: Operation = self.network.nodes[key]["operation"]
        return operation

    def order(self) -> list[str]:
        """All keys, inputs before their users, and stably so."""
        position = {key: i for i, key in enumerate(self.network.nodes)}
        return list(nx.lexicographical_topological_sort(self.network, key=position.__getitem__))

    def of_kind(self, kind: str) -> dict[str, Made]:
        """What was made of one kind, by name."""
        return {name: made for name, made in self.made.items() if made.kind == kind}

    def keys(self, *kinds: str) -> list[str]:
        """The operations of all that was made of some kinds."""
        return [made.key for made in self.made.values() if made.kind in kinds]

    def key_of(self, name: str) -> str:
        """The operation of something that the program names."""
        return self.made[name].key

    def arm(self, name: str, arm: str) -> str:
        """The operation of an arm or cell of something that the program names."""
        return self.made[name].parts[arm]

    def name_of(self, key: str) -> str | None:
        """What the program calls an operation."""
        return self.called.get(key)

    @property
    def pair_sets(self) -> list[PairSet]:
        """The sets of pairs and of texts as the program has them, each once."""
        found = [pairs.original or pairs for pairs in self.pairs.values()]
        return list({pairs.name: pairs for pairs in found}.values())

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt of any pairs, sources with names among them."""
        prompts = (prompt for pairs in self.pairs.values() for prompt in pairs.prompts)
        return max((prompt.length for prompt in prompts), default=0)

    def pairs_of(self, clean_run: str) -> PairSet:
        """The pairs of a clean run."""
        return self.pairs[self.operation(clean_run).input("pairs")]

    def prompts_of(self, clean_run: str) -> list[Prompt]:
        """The prompts of a clean run: one side of its pairs."""
        return self.pairs_of(clean_run).side(self.operation(clean_run).side)
