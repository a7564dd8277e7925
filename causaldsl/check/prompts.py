"""`lexicon` and `prompts`: words, templates, slots, and where positions are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from causaldsl.diagnostics import Label, Mistake, Span, suggest, wrong
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast


@dataclass(frozen=True)
class Lexicon:
    """Words to fill slots with; with a split, training and test prompts share no word."""

    name: str
    words: tuple[str, ...]
    halves: bool
    one_token: bool
    span: Span = field(compare=False, repr=False)

    def part(self, role: str) -> tuple[str, ...]:
        """The words for a role. The split takes every other word, so that a sorted list is fair."""
        if not self.halves:
            return self.words
        return self.words[0::2] if role == "train" else self.words[1::2]


@dataclass(frozen=True)
class Template:
    role: str
    pieces: tuple[str, ...]
    slots: tuple[str, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class PromptFamily:
    """A checked `prompts` block. ``groups`` are the slots that one `slots` entry lists."""

    name: str
    templates: tuple[Template, ...]
    groups: tuple[tuple[str, ...], ...]
    lexicons: dict[str, Lexicon]
    answer: str
    foil: str
    places: tuple[tuple[str, str, Span], ...]
    span: Span = field(compare=False, repr=False)

    def of_role(self, role: str) -> tuple[Template, ...]:
        return tuple(t for t in self.templates if t.role == role)


def check_lexicon_tokens(lexicon: Lexicon, tokens: Tokens, model: str) -> None:
    """Every word must be one token after a space, so that it can be an answer."""
    if not lexicon.one_token:
        return
    bad = [word for word in lexicon.words if tokens.single(" " + word) is None]
    if bad:
        shown = ", ".join(f"{w} ({'|'.join(tokens.pieces(' ' + w)).strip()})" for w in bad[:4])
        more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
        count = "is not one token" if len(bad) == 1 else "are not one token each"
        raise Mistake(
            "not-one-token",
            f"{shown}{more} {count} in {model}",
            "take them out of the lexicon, or write phrases(...) for words that are never answers",
        )


def check_prompts(node: ast.Prompts, lexicons: dict[str, Lexicon]) -> PromptFamily:
    """A `prompts` block with its slots, letters and positions resolved."""
    groups: list[tuple[str, ...]] = []
    by_slot: dict[str, Lexicon] = {}
    answers: ast.Answers | None = None
    places: list[tuple[str, str, Span]] = []
    for item in node.items:
        if isinstance(item, ast.Slots):
            for slot in item.slots:
                if slot.lexicon.text not in lexicons:
                    raise wrong(
                        "unknown-name",
                        f"there is no lexicon `{slot.lexicon.text}`",
                        slot.lexicon.span,
                        suggest(slot.lexicon.text, lexicons, "lexicons"),
                    )
                for letter in slot.letters:
                    if letter.text in by_slot or letter.text == "last":
                        raise wrong(
                            "name-twice",
                            f"the slot `{letter.text}` is filled twice",
                            letter.span,
                            "choose another name",
                        )
                groups.append(tuple(letter.text for letter in slot.letters))
                by_slot |= {i.text: lexicons[slot.lexicon.text] for i in slot.letters}
        elif isinstance(item, ast.Answers):
            if answers is not None:
                raise wrong(
                    "name-twice",
                    "the answer is given twice",
                    item.span,
                    None,
                    [Label(answers.span, "first here")],
                )
            if item.answer.text == item.foil.text:
                raise wrong(
                    "answer-foil",
                    "answer and foil are the same letter",
                    item.span,
                    "the foil is the other name",
                )
            answers = item
        elif isinstance(item, ast.Positions):
            for d in item.definitions:
                fixed = d.name.text == "all" or (d.name.text == "END" and d.place != "last")
                if fixed or d.name.text in [name for name, _, _ in places]:
                    what = "has a fixed meaning" if fixed else "is defined twice"
                    raise wrong(
                        "name-twice",
                        f"the position `{d.name.text}` {what}",
                        d.name.span,
                        "choose another name",
                    )
                places.append((d.name.text, d.place, d.span))
    templates = tuple(
        _template(item, by_slot) for item in node.items if isinstance(item, ast.Template)
    )
    if not templates:
        raise wrong(
            "no-template",
            f"prompts `{node.name.text}` has no template",
            node.name.span,
            'add a line such as: train "When {X} and {Y} ..."',
        )
    if answers is None:
        raise wrong(
            "no-answer",
            f"prompts `{node.name.text}` does not say what the answer is",
            node.name.span,
            "add a line such as: answer A  foil B",
        )
    return PromptFamily(
        node.name.text,
        templates,
        tuple(groups),
        by_slot,
        answers.answer.text,
        answers.foil.text,
        tuple(places),
        node.span,
    )


def _template(node: ast.Template, slots: dict[str, Lexicon]) -> Template:
    parts = re.split(r"\{(\w+)\}", node.text.text)
    names = tuple(parts[1::2])
    for name in names:
        if name not in slots:
            at = node.span.source.text.find("{" + name + "}", node.text.span.start) + 1
            raise wrong(
                "unknown-slot",
                f"the template uses a slot `{name}` that no `slots` line fills",
                Span(node.span.source, at, at + len(name)),
                suggest(name, slots, "slots"),
            )
    stray = next((char for piece in parts[0::2] for char in piece if char in "{}"), None)
    if stray is not None:
        raise wrong(
            "stray-brace",
            f"the template has a `{stray}` that belongs to no slot",
            node.text.span,
            "slots are written {X}",
        )
    return Template(node.role, tuple(parts[0::2]), names, node.text.span)
