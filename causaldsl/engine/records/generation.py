"""Generated texts, with the numbers of them."""

from __future__ import annotations

from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.generated import Generation
from causaldsl.engine.records import gathers
from causaldsl.engine.records.measures import numbers
from causaldsl.engine.session import Session
from causaldsl.engine.words.generation import Texts
from causaldsl.vocabulary.generation import SAMPLING


@gathers("generations")
def generations(program: CheckedProgram, session: Session) -> dict[str, Any]:
    made = session.graph.of_kind("generate")
    return {
        name: _record(session, program.defined[name], session.values[one.key], one.parts)
        for name, one in made.items()
    }


def _record(session: Session, said: Generation, found: Texts, arms: Any) -> dict[str, Any]:
    base = session.graph.operation(next(iter(arms.values()))).input("base")
    how, shown = said.how.model_dump(), found.written if said.shows else {}
    return {
        "prompts": [prompt.text for prompt in session.graph.prompts_of(base)],
        "tokens": said.how.tokens,
        "sampling": {name: how[name] for name in SAMPLING if name in how},
        "texts": {arm: list(written.texts) for arm, written in shown.items()},
        "ended": {arm: list(written.ended) for arm, written in shown.items()},
        "numbers": {arm: numbers(of_arm) for arm, of_arm in found.items()},
        "metrics": {name: described(metric) for name, metric in said.metrics},
    }


def described(metric: Any) -> str:
    """A metric as it is written."""
    listed = ", ".join(f'"{word}"' for word in metric.of)
    return f"{metric.word}([{listed}])" if metric.listed else str(metric.word)
