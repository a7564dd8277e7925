"""Where the names of a file are mentioned, for an editor."""

from causaldsl.diagnostics import Source
from causaldsl.syntax.names import mentions
from causaldsl.syntax.parse import parse

PROGRAM = """metric lead = logit(answer) - logit(foil)
metric twice = 2 * lead
measure m on p { lead_arm = patch s  report lead, fldd }
expect m.lead_arm.lead < m.clean.fldd
prompts q { test "The {X} is" slots X: n answer [after X, " he"] foil upto X.column }
"""


def places(text: str, kind: str) -> list[tuple[int, str]]:
    found = mentions(parse(Source("x", PROGRAM)).statements, [])
    spans = [one.span for one in found if (one.symbol.kind, one.symbol.text) == (kind, text)]
    return sorted((PROGRAM[: span.start].count("\n") + 1, span.text) for span in spans)


def test_a_metric_is_mentioned_where_it_is_reported() -> None:
    assert places("lead", "definition") == [(1, "lead"), (2, "lead"), (3, "lead"), (4, "lead")]
    assert places("fldd", "definition") == []


def test_slots_are_mentioned_in_sets_of_answers() -> None:
    assert places("X", "slot") == [(5, "X")] * 4
