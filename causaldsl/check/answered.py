"""What is asked of the answers of pairs: sets of answers, answers without foils, several tokens.

Every use of pairs says which answers it can take; what it can't is refused here, with a way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import Span, wrong
from causaldsl.vocabulary.metrics import Metric

Asked = Literal["one", "foils", "nothing"]
"""One answer and one foil; answers with foils, which may be sets; or nothing of them at all."""
_SAY_FOIL = (
    'say what the foil is: `foil ..` behind the answer of prompts, `foil: "COLUMN"` of `dataset`, '
    "or `foil` in each line of a file"
)


def check_answers(pairs: PairSet, asked: Asked, shown: str, span: Span) -> None:
    """Refuse pairs, written as ``shown``, whose answers are not what their use asks for."""
    if asked != "nothing" and not pairs.foils:
        raise wrong(
            "no-foil",
            f"`{shown}` has no foils, and a logit difference is taken here",
            span,
            _SAY_FOIL,
        )
    if asked == "one" and pairs.sets:
        raise wrong(
            "answer-sets",
            f"`{shown}` has sets of answers, and one answer and one foil are wanted here",
            span,
            "measure, sweep, trace and gradient take sets; learn on pairs with one answer each",
        )


def check_metrics(
    pairs: PairSet, metrics: Iterable[Metric], known: Iterable[Metric], span: Span
) -> None:
    """Refuse metrics, of those that are ``known``, that can't be worked out of such answers."""
    for metric in metrics:
        if metric.of_foils and not pairs.foils:
            others = [one.word for one in known if not one.of_foils and one.needs == "vocabulary"]
            raise wrong(
                "no-foil",
                f"`{metric.word}` compares the answer with its foil, and `{pairs.name}` has none",
                span,
                f"report {', '.join(others)}; or {_SAY_FOIL}",
            )
        if pairs.sets and not metric.of_sets:
            others = [one.word for one in known if one.of_sets]
            raise wrong(
                "answer-sets",
                f"`{metric.word}` is about one answer, and `{pairs.name}` has sets of them",
                span,
                f"report {', '.join(others)}",
            )
