"""The forms that files of pairs have, each told by its columns.

A form says which columns it takes and makes records of a row: `base`, `answer`, and what else there
is of `source`, `foil`, `class`, `positions`. ``FORMS`` is the order in which they are tried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from causaldsl.check.readers.columns import (
    PASSED,
    Columns,
    Unusable,
    named_texts_of,
    text_of,
    texts_of,
    value_of,
)
from causaldsl.check.readers.containers import Row
from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import SIDES

Record = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How rows of one file are made into records.

    ``said`` is what is done, for the reader of a report. ``sources``: where the sources are from:
    `rows` (each row has its own), `others` (other rows of the same ``relation``), or `none`.
    """

    said: str
    records: Callable[[Row], list[Record]]
    sources: str = "rows"


Told = Callable[[Columns], Form | None]


def form_of(columns: Columns) -> Form:
    """The form of a file.

    Raises:
        Mistake: if it has none of them, or an option must say what it is.
    """
    for told in FORMS:
        form = told(columns)
        if form is not None:
            return form
    if columns.ids is not None:
        raise _token_ids(columns)
    shown = ", ".join(f"`{name}`" for name in list(columns.names)[:12])
    raise Mistake(
        "no-columns",
        f"{columns.written} has the columns {shown}, of which none is known to be the base",
        f'say what is what: dataset("{columns.written}", base: "COLUMN", source: "COLUMN", '
        'answer: "COLUMN", foil: "COLUMN")',
    )


def _token_ids(columns: Columns) -> Mistake:
    return Mistake(
        "token-ids",
        f"{columns.written} has its answers as token ids, in `{columns.ids}`: they are another "
        "tokenizer's, and other words to this model",
        "add columns `answer` and `foil` that hold their texts",
    )


def _passed(row: Row) -> Record:
    return {name: row[name] for name in PASSED if row.get(name) is not None}


def _plain(columns: Columns) -> Form | None:
    """A column each for base, source, answer and foil."""
    base = columns.find("base")
    if base is None:
        return None
    sources, by_name = columns.named_sources(), columns.sources_by_name()
    source = next(iter(sources.values())) if sources else columns.find("source")
    foil, classes = columns.find("foil"), columns.classes()
    answer = columns.find("answer") or columns.label()
    if answer is None:
        if columns.ids is not None:
            raise _token_ids(columns)
        raise Mistake(
            "no-answers",
            f"{columns.written} has no column that is known to be the answer",
            f'say which it is: dataset("{columns.written}", answer: "COLUMN")',
        )
    columns.used["answer"] = answer
    taken = {"base": base, "source": source, "answer": answer, "foil": foil}
    roles = {role: name for role, name in taken.items() if name is not None}

    def records(row: Row) -> list[Record]:
        record: Record = {
            role: (text_of if role in SIDES else texts_of)(row, name, role)
            for role, name in roles.items()
        }
        if sources:
            record["sources"] = {n: text_of(row, c, "source") for n, c in sources.items()}
        if by_name:
            record["sources"] = named_texts_of(row, "sources", "source")
            record.setdefault("source", next(iter(record["sources"].values())))
        if classes is not None:
            record["class"] = row.get(classes)
        for name in ("subject", "word_idxs", "tokens"):
            if row.get(name) is not None:
                record[name] = row[name]
        return [record | _passed(row)]

    named = roles | ({"class": classes} if classes else {})
    differing = [f"{role} is `{name}`" for role, name in named.items() if role != name]
    if named_ones := by_name or tuple(sources):
        differing.append(f"sources are {', '.join(f'`{name}`' for name in named_ones)}")
    return Form(", ".join(differing), records, "rows" if source or by_name else "none")


def _one_prefix(columns: Columns) -> Form | None:
    """BLiMP: one prefix, a good and a bad word; or two prefixes and one word."""
    one, two = "one_prefix_prefix" in columns.names, "two_prefix_prefix_good" in columns.names
    if one and two:
        raise Mistake(
            "which-column",
            f"{columns.written} has `one_prefix_prefix` and `two_prefix_prefix_good`: two "
            "experiments",
            f'say which: dataset("{columns.written}", base: "one_prefix_prefix", '
            'answer: "one_prefix_word_good", foil: "one_prefix_word_bad")',
        )
    if not (one or two):
        return None
    roles = (
        {
            "base": "one_prefix_prefix",
            "answer": "one_prefix_word_good",
            "foil": "one_prefix_word_bad",
        }
        if one
        else {
            "base": "two_prefix_prefix_good",
            "source": "two_prefix_prefix_bad",
            "answer": "two_prefix_word",
        }
    )
    columns.used |= roles

    def records(row: Row) -> list[Record]:
        return [{role: text_of(row, name, role) for role, name in roles.items()} | _passed(row)]

    said = ", ".join(f"{role} is `{name}`" for role, name in roles.items())
    return Form(said, records, "none" if one else "rows")


def _relation(columns: Columns) -> Form | None:
    """Templates with a place for the subject, and samples of subject and object."""
    templates = columns.rows.about.get("prompt_templates")
    if not isinstance(templates, list) or not {"subject", "object"} <= columns.names.keys():
        return None
    columns.used |= {"subject": "subject", "object": "object"}

    def records(row: Row) -> list[Record]:
        subject, answer = text_of(row, "subject", "subject"), text_of(row, "object", "object")
        return [
            {
                "base": _filled(template, subject, answer),
                "answer": answer,
                "subject": subject,
                "template": template,
            }
            for template in templates
        ]

    said = "base is a template of `prompt_templates` with the subject, answer is the object"
    return Form(said, records, "others")


def _filled(template: Any, subject: str, answer: str = "") -> str:
    """A template with its subject, up to where its object stands."""
    if not isinstance(template, str):
        raise Unusable("have a template that is no text")
    text = re.split(r"\[Y\]", template)[0].rstrip()
    if not re.search(r"\{\}|%s|\[X\]", text):
        raise Unusable("have a template without a place for the subject")
    return re.sub(r"\{\}|%s|\[X\]", lambda _: subject, text, count=1)


def _edits(columns: Columns) -> Form | None:
    """CounterFact: a prompt with a place for its subject, the true and another target."""
    inner = "requested_rewrite." if "requested_rewrite" in columns.names else ""
    if not inner and not {"prompt", "subject", "target_true"} <= columns.names.keys():
        return None
    columns.used |= {"base": "requested_rewrite" if inner else "prompt", "subject": "subject"}
    columns.used |= {"answer": "target_true", "foil": "target_new"}

    def target(row: Row, name: str, role: str) -> str:
        name = f"{inner}{name}"
        is_object = isinstance(value_of(row, name), Mapping)
        return text_of(row, f"{name}.str" if is_object else name, role)

    def records(row: Row) -> list[Record]:
        subject = text_of(row, f"{inner}subject", "subject")
        prompt = text_of(row, f"{inner}prompt", "prompt")
        has_place = re.search(r"\{\}|%s|\[X\]", prompt)
        record = {
            "base": _filled(prompt, subject) if has_place else prompt,
            "answer": target(row, "target_true", "answer"),
            "foil": target(row, "target_new", "foil"),
            "subject": subject,
        }
        return [record | _passed(row)]

    said = "base is the prompt with its subject, answer is `target_true`, foil is `target_new`"
    return Form(said, records, "none")


def _counterfactual(columns: Columns) -> Form | None:
    """MIB and causal models: a prompt, and the same things of its counterfactuals."""
    sides = [name for name in columns.names if _is_counterfactual(columns, name)]
    own = "input" if "input" in columns.names else ""
    if not sides or not (own or "prompt" in columns.names):
        return None
    told = columns.word.source
    if told is not None and told.lower() not in sides:
        raise Mistake(
            "no-column", f"{columns.written} has no counterfactual `{told}`", ", ".join(sides)
        )
    several = columns.named_sources()
    if strange := [name for name in several.values() if name not in sides]:
        message = f"`{strange[0]}` of {columns.written} holds no prompts"
        raise Mistake("no-column", message, ", ".join(sides))
    if told is None and not several and len(sides) > 1:
        raise columns.which("source", sides)
    side = told.lower() if told is not None else next(iter(several.values()), sides[0])
    chosen = several or {"source": side}
    columns.used |= {"base": own or "prompt", "source": side, "answer": "answer"}

    def records(row: Row) -> list[Record]:
        base = row[own] if own else row
        sources = _by_name(row, chosen)
        if not isinstance(base, Mapping):
            raise Unusable(f"have no one `{own}`")
        first = next(iter(sources.values()))
        answer, foil = _own_answer(base), _own_answer(first)
        if answer == foil:
            foil = _other_choice(base, answer)
        record: Record = {"base": _prompt(base), "source": _prompt(first)}
        record |= {"answer": answer, "foil": foil}
        if several or len(sources) > 1:
            record["sources"] = {name: _prompt(one) for name, one in sources.items()}
        return [record | _passed(row)]

    if several:
        said = f"sources are the prompts of {', '.join(f'`{name}`' for name in several)}"
        return Form(f"{said}; the first is the source, and foil is its answer", records)
    if _lists_several(columns, side):
        said = f"sources are the prompts of `{side}`, source_1 and so on"
        return Form(f"{said}; the first is the source, and foil is its answer", records)
    return Form(f"source is the prompt of `{side}`, foil is its answer", records)


def _by_name(row: Row, chosen: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Counterfactuals by the names of their columns, or of one column that lists several."""
    found: dict[str, Any] = {name: row.get(column) for name, column in chosen.items()}
    for name, one in list(found.items()):
        if isinstance(one, list) and len(one) == 1:
            found[name] = one[0]
        elif isinstance(one, list) and len(one) > 1 and len(chosen) == 1:
            found = {f"source_{i}": each for i, each in enumerate(one, 1)}
    if not all(isinstance(one, Mapping) for one in found.values()):
        raise Unusable(f"have no one `{next(iter(chosen.values()))}`")
    return found


def _lists_several(columns: Columns, name: str) -> bool:
    values = [row.get(name) for _, row in columns.rows.rows]
    return any(isinstance(value, list) and len(value) > 1 for value in values)


def _is_counterfactual(columns: Columns, name: str) -> bool:
    if "counterfactual" not in name:
        return False
    values = [row.get(name) for _, row in columns.rows.rows[:50]]
    return any(isinstance(one[0] if isinstance(one, list) and one else one, dict) for one in values)


def _prompt(side: Mapping[str, Any]) -> str:
    return text_of(dict(side), "prompt" if "prompt" in side else "raw_input", "prompt")


def _own_answer(side: Mapping[str, Any]) -> str:
    """`answer`, the choice that `answerKey` counts from 0, `label` or `raw_output`."""
    choices, key = _choices(side), side.get("answerkey")
    if choices and isinstance(key, int) and 0 <= key < len(choices):
        return choices[key]
    name = next((n for n in ("answer", "label", "raw_output") if n in side), "answer")
    return text_of(dict(side), name, "answer")


def _choices(side: Mapping[str, Any]) -> list[str]:
    found = side.get("choices")
    if isinstance(found, Mapping):
        found = found.get("label")
    return [str(one) for one in found] if isinstance(found, list) else []


def _other_choice(side: Mapping[str, Any], answer: str) -> str:
    others = [choice for choice in _choices(side) if choice != answer]
    if len(others) != 1:
        raise Unusable("have the same answer on both sides, and no one other choice")
    return others[0]


def _input_output(columns: Columns) -> Form | None:
    """Pairs of an input and an output, which need a template."""
    if not {"input", "output"} <= columns.names.keys():
        return None
    template = columns.word.template
    if template is None or "{input}" not in template:
        raise Mistake(
            "no-template",
            f"{columns.written} has inputs and outputs, and no prompts",
            f'say how they become prompts: dataset("{columns.written}", '
            'template: "Q: {input}\\nA:", shots: 4)',
        )
    columns.used |= {"input": "input", "output": "output"}

    def records(row: Row) -> list[Record]:
        given, answer = text_of(row, "input", "input"), text_of(row, "output", "output")
        return [
            {
                "base": template.replace("{input}", given),
                "answer": answer,
                "subject": given,
                "template": template,
            }
        ]

    return Form("base is the template with the input, answer is the output", records, "others")


FORMS: tuple[Told, ...] = (
    _relation,
    _edits,
    _counterfactual,
    _plain,
    _one_prefix,
    _input_output,
)
