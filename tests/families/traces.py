"""A trace by brute force with the oracle: total, mediated effects, edges, and what edges explain.

A component is a string as results call it: `2.1@END` is a head's z, `mlp2@END` an MLP's output;
`patch` is the intervention, `logits` the end. Values are by pair and batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.families import oracle
from tests.families.arms import At, Batch, Do, Reference
from tests.families.oracle import Held

ALL = Held(attention=True, mlp=True)


@dataclass(eq=False)
class ByHand:
    """The trace of one patch, along ``basis`` or whole."""

    reference: Reference
    at: At
    basis: Tensor | None = None

    def total(self) -> Tensor:
        return self._of_pairs(lambda b: self._run(b, [self._on(b)]) - self._run(b, []))

    def mediated(self, nodes: Sequence[str]) -> Tensor:
        """What is lost when these components are held at their clean values."""

        def of(batch: Batch) -> Tensor:
            on = [self._on(batch)]
            held = [self._put(batch, n, self._read(batch, n, [])) for n in nodes]
            return self._run(batch, on) - self._run(batch, [*on, *held])

        return self._of_pairs(of)

    def edge(self, sender: str, receiver: str, natural: bool) -> Tensor:
        def of(batch: Batch) -> Tensor:
            sent = self._sent(batch, sender, natural)
            if receiver == "logits":
                return self._run(batch, sent, ALL) - self._run(batch, [])
            heard = self._alone(batch, receiver, sent)
            changed = self._run(batch, [self._put(batch, receiver, heard)])
            return changed - self._run(batch, [])

        return self._of_pairs(of)

    def explained(self, edges: Sequence[tuple[str, str]], order: Sequence[str]) -> Tensor:
        """The change of the metric when every component sees these edges into it alone."""

        def of(batch: Batch) -> Tensor:
            now: dict[str, Tensor] = {}

            def into(node: str) -> list[Any]:
                senders = [a for a, b in edges if b == node]
                sent = [self._on(batch)] if "patch" in senders else []
                return sent + [self._put(batch, s, now[s]) for s in senders if s in now]

            for node in order:
                if into(node):
                    now[node] = self._alone(batch, node, into(node))
            return self._run(batch, into("logits"), ALL) - self._run(batch, [])

        return self._of_pairs(of)

    def _of_pairs(self, of: Any) -> Tensor:
        with torch.no_grad():
            return torch.stack(self.reference.by_pair(of))

    def _on(self, batch: Batch) -> Any:
        bases = {} if self.basis is None else {"v": self.basis}
        along = "" if self.basis is None else "v"
        return self.reference.edit(batch, Do("patch", self.at, along), bases)

    def _sent(self, batch: Batch, sender: str, natural: bool) -> list[Any]:
        if sender == "patch":
            itself = ByHand(self.reference, self.at) if natural else self
            return [itself._on(batch)]
        edit = self._behind(batch) if natural else self._on(batch)
        return [self._put(batch, sender, self._read(batch, sender, [edit]))]

    def _behind(self, batch: Batch) -> Any:
        """The stream right behind the intervention as it is in the source."""
        middle = self.reference.model.parts.middle
        kind = "resid_mid" if "." in self.at.kind or self.at.kind == "attn_out" else "resid_post"
        if self.at.kind.startswith("resid"):
            kind = self.at.kind
        elif kind == "resid_mid" and middle is None:
            kind = "resid_post"
        at = At(kind, self.at.layer, None, self.at.where)
        return self.reference.edit(batch, Do("patch", at), {})

    def _run(self, batch: Batch, edits: list[Any], held: Held | None = None) -> Tensor:
        logits = oracle.logits(self.reference.model, batch.base, edits, held)
        answers = torch.tensor([[case.answer, case.foil] for case in batch.cases])
        chosen = logits.gather(1, answers)
        return chosen[:, 0] - chosen[:, 1]

    def _read(self, batch: Batch, node: str, edits: list[Any], held: Held | None = None) -> Tensor:
        at = component(node)
        (x,) = oracle.read(self.reference.model, batch.base, [at.place], edits, held)
        return oracle.gather(x, batch.at(at.where))

    def _alone(self, batch: Batch, node: str, sent: list[Any]) -> Tensor:
        """A component's output when only what is sent reaches it."""
        held = Held(attention=True, mlp=True, free=frozenset([component(node).place]))
        return self._read(batch, node, sent, held)

    def _put(self, batch: Batch, node: str, value: Tensor) -> Any:
        at = component(node)
        return at.place, oracle.put(batch.at(at.where), value)


def component(node: str) -> At:
    name, _, where = node.partition("@")
    if name.startswith("mlp"):
        return At("mlp_out", int(name[3:]), None, where)
    layer, head = name.split(".")
    return At("head.z", int(layer), int(head), where)
