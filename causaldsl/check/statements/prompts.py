"""`prompts`: templates with slots, answers and positions, or prompts without answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from causaldsl.check.apply import made
from causaldsl.check.cautions import warn_of_texts
from causaldsl.check.context import Context, checks
from causaldsl.check.filling import check_column
from causaldsl.check.pairs import PromptSet
from causaldsl.check.prompts import AnswerOf, Lexicon, PromptFamily, Template
from causaldsl.check.scope import BROKEN
from causaldsl.diagnostics import Label, ProgramError, Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import PromptsType

_MAKERS = 'write corpus("file.txt"), one prompt a line, or sample(lm, n: 200, length: 32, seed: 0)'


@checks(ast.TextPrompts)
def text_prompts(context: Context, node: ast.TextPrompts) -> PromptSet:
    """Prompts of a corpus, or of the model's own making."""
    found: PromptSet | None = made(context, node.value, PromptsType)
    if found is None:
        context.scope.check_words()
        raise wrong("bad-prompts", "this does not make prompts", node.value.span, _MAKERS)
    if found.sample is None:
        warn_of_texts(context, node.name.text, [found], node.value.span)
    return replace(found, name=node.name.text)


@checks(ast.Prompts)
def prompts(context: Context, node: ast.Prompts) -> PromptFamily:
    """A `prompts` block with its slots, letters and positions resolved."""
    values = context.scope.values
    used = {s.lexicon.text for i in node.items if isinstance(i, ast.Slots) for s in i.slots}
    if any(values.get(name) is BROKEN for name in used):
        raise ProgramError([])
    context.scope.used |= used
    block = _Block(values)
    for item in node.items:
        if isinstance(item, ast.Slots):
            block.add_slots(item)
        elif isinstance(item, ast.Answers):
            block.add_answers(item)
        elif isinstance(item, ast.Positions):
            block.add_positions(item)
    templates = tuple(
        _template(item, block.by_slot) for item in node.items if isinstance(item, ast.Template)
    )
    if not templates:
        raise wrong(
            "no-template",
            f"prompts `{node.name.text}` has no template",
            node.name.span,
            'add a line such as: train "When {X} and {Y} ..."',
        )
    if block.answers is None:
        raise wrong(
            "no-answer",
            f"prompts `{node.name.text}` does not say what the answer is",
            node.name.span,
            "add a line such as: answer A  foil B",
        )
    return PromptFamily(
        node.name.text,
        templates,
        tuple(block.groups),
        block.by_slot,
        tuple(map(block.answer_of, block.answers.answer)),
        tuple(map(block.answer_of, block.answers.foil)) if block.answers.foil else None,
        tuple(block.places),
        node.span,
        next((item.word for item in node.items if isinstance(item, ast.Frame)), None),
    )


@dataclass
class _Block:
    """What the lines of a block have said so far, beside its templates."""

    names: Mapping[str, Any]
    groups: list[tuple[str, ...]] = field(default_factory=list)
    by_slot: dict[str, Lexicon] = field(default_factory=dict)
    answers: ast.Answers | None = None
    places: list[tuple[str, str, Span]] = field(default_factory=list)

    def add_slots(self, item: ast.Slots) -> None:
        for slot in item.slots:
            lexicon = self.names.get(slot.lexicon.text)
            if not isinstance(lexicon, Lexicon):
                known = [name for name, v in self.names.items() if isinstance(v, Lexicon)]
                raise wrong(
                    "unknown-name",
                    f"there is no lexicon `{slot.lexicon.text}`",
                    slot.lexicon.span,
                    suggest(slot.lexicon.text, known, "lexicons"),
                )
            for letter in slot.letters:
                if letter.text in self.by_slot or letter.text == "last":
                    message = f"the slot `{letter.text}` is filled twice"
                    if letter.text == "last":
                        message = "`last` is the last token, so no slot can be called so"
                    raise wrong("name-twice", message, letter.span, "choose another name")
            self.groups.append(tuple(letter.text for letter in slot.letters))
            self.by_slot |= {letter.text: lexicon for letter in slot.letters}

    def add_answers(self, item: ast.Answers) -> None:
        if self.answers is not None:
            raise wrong(
                "name-twice",
                "the answer is given twice",
                item.span,
                None,
                [Label(self.answers.span, "first here")],
            )
        both = sorted(set(map(show, item.answer)) & set(map(show, item.foil or ())))
        if both:
            raise wrong(
                "answer-foil",
                f"{both[0]} is answer and foil",
                item.span,
                "the foil is what the answer is compared with",
            )
        self.answers = item

    def answer_of(self, node: ast.Answer) -> AnswerOf:
        """An answer or foil whose column, if it is one of a slot, is there."""
        select = node.word if isinstance(node, ast.Selected) else ""
        node = node.of if isinstance(node, ast.Selected) else node
        found = AnswerOf(node.text, node.span, isinstance(node, ast.String), select)
        if found.name in self.by_slot:
            check_column(found.name, found.column, self.by_slot[found.name], node.span)
        return found

    def add_positions(self, item: ast.Positions) -> None:
        for d in item.definitions:
            fixed = d.name.text == "all" or (d.name.text == "END" and d.place != "last")
            if fixed or d.name.text in [name for name, _, _ in self.places]:
                what = "has a fixed meaning" if fixed else "is defined twice"
                raise wrong(
                    "name-twice",
                    f"the position `{d.name.text}` {what}",
                    d.name.span,
                    "choose another name",
                )
            self.places.append((d.name.text, d.place, d.span))


def _template(node: ast.Template, slots: dict[str, Lexicon]) -> Template:
    parts = re.split(r"\{(\w+(?:\.\w+)?)\}", node.text.text)
    names = tuple(parts[1::2])
    for name in names:
        slot, _, column = name.partition(".")
        at = node.span.source.text.find("{" + name + "}", node.text.span.start) + 1
        span = Span(node.span.source, at, at + len(name))
        if slot not in slots:
            raise wrong(
                "unknown-slot",
                f"the template uses a slot `{slot}` that no `slots` line fills",
                span,
                f"{suggest(slot, slots, 'slots')}; or fill it too: `slots .., {slot}: LEXICON`, "
                "with a line above as `lexicon LEXICON = words([..])`",
            )
        check_column(slot, column, slots[slot], span)
    stray = next((char for piece in parts[0::2] for char in piece if char in "{}"), None)
    if stray is not None:
        raise wrong(
            "stray-brace",
            f"the template has a `{stray}` that belongs to no slot",
            node.text.span,
            "slots are written {X}",
        )
    return Template(node.role, tuple(parts[0::2]), names, node.text.span)
