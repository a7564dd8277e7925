"""Making pairs from templates: `lexicon`, `prompts` and `pairs p = prompts ABB <-> BAB {...}`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from causaldsl.check.pairs import Pair, PairFamily, PairSet, Prompt, shape_of
from causaldsl.diagnostics import Label, Mistake, Span, located, suggest, wrong
from causaldsl.model.tokens import Tokens, last_token_before
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


@dataclass(frozen=True)
class _Filled:
    """A prompt's text with the character spans of every slot and letter, in order."""

    text: str
    occurrences: dict[str, list[tuple[int, int]]]


class PairMaker:
    """Makes the pairs of one `pairs NAME = prompts LEFT <-> RIGHT {...}` statement."""

    def __init__(self, family: PromptFamily, node: ast.PatternPairs, tokens: Tokens):
        self.family, self.node, self.tokens = family, node, tokens
        self.left, self.right = node.left.text, node.right.text
        self.group = self._pattern_group()
        self._check_letters()
        # In `SOURCE -> BASE` the left side is the source; `<->` takes both in turn.
        for base in (self.left, self.right) if node.arrow == "<->" else (self.right,):
            self._check_answers(base)

    def family_of(self, name: str) -> PairFamily:
        options = self._options()
        seed = options.get("seed", 0)
        parts: dict[str, PairSet | None] = {"train": None, "test": None}
        taken: set[tuple[str, str]] = set()
        for role in parts:
            if options.get(role):
                pairs = self._sample(role, options[role], seed, taken)
                parts[role] = PairSet(f"{name}.{role}", pairs)
        if not any(parts.values()):
            raise wrong(
                "no-pairs",
                f"`{name}` asks for no pairs",
                self.node.span,
                "say how many: { train 300  test 150  seed 0 }",
            )
        return PairFamily(name, parts["train"], parts["test"])

    def _options(self) -> dict[str, int]:
        options: dict[str, int] = {}
        for option in self.node.options:
            if not option.value.isdigit():
                raise wrong(
                    "bad-option",
                    f"`{option.name} {option.value}` is not a whole number",
                    option.span,
                )
            if option.name in options:
                raise wrong("option-twice", f"`{option.name}` is given twice", option.span)
            options[option.name] = int(option.value)
        return options

    def _pattern_group(self) -> tuple[str, ...]:
        for side in (self.node.left, self.node.right):
            fitting = [g for g in self.family.groups if len(g) == len(side.text)]
            if len(fitting) != 1 or not side.text.isalpha() or len(side.text) != len(self.left):
                sizes = ", ".join(" ".join(g) for g in self.family.groups)
                raise wrong(
                    "pattern-length",
                    f"pattern {side.text} has {len(side.text)} letters, which fits no one group "
                    f"of slots of `{self.family.name}`",
                    side.span,
                    f"its groups of slots are: {sizes}",
                    [Label(self.family.span, "the prompts")],
                )
        return next(g for g in self.family.groups if len(g) == len(self.left))

    def _check_letters(self) -> None:
        clash = sorted(set(self.left + self.right) & set(self.family.lexicons))
        if clash:
            raise wrong(
                "slot-letter",
                f"`{clash[0]}` is a letter of the pattern and also a slot of the template",
                self.node.span,
                "call the slots by other letters, such as X Y Z",
                [Label(self.family.span, "the prompts")],
            )

    def _check_answers(self, base: str) -> None:
        for letter in (self.family.answer, self.family.foil):
            if letter not in base:
                raise wrong(
                    "answer-letter",
                    f"pattern {base} is the base but has no letter {letter}",
                    self.node.span,
                    f"the prompts say: answer {self.family.answer}  foil {self.family.foil}",
                )

    def _sample(
        self, role: str, count: int, seed: int, taken: set[tuple[str, str]]
    ) -> tuple[Pair, ...]:
        templates = self.family.of_role(role)
        for template in templates:
            unused = [slot for slot in self.group if slot not in template.slots]
            if unused:
                raise wrong(
                    "unused-slot",
                    f"this template has no {{{unused[0]}}}, so the pattern does not fit it",
                    template.span,
                    f"it needs {' '.join(self.group)}",
                )
        if not templates:
            raise wrong(
                "no-template",
                f"prompts `{self.family.name}` has no {role} template",
                self.node.span,
                f'add a line to it: {role} "..."',
                [Label(self.family.span, "the prompts")],
            )
        rng = random.Random(f"{seed}:{role}")
        pairs: list[Pair] = []
        tries = 0
        while len(pairs) < count:
            pair = self._pair(role, rng, rng.choice(templates), forward=len(pairs) % 2 == 0)
            tries += 1
            if pair.identity not in taken:
                taken.add(pair.identity)
                pairs.append(pair)
            elif tries > 50 * count + 1000:
                raise wrong(
                    "too-few-pairs",
                    f"only about {len(pairs)} different {role} pairs can be made, not {count}",
                    self.node.span,
                    "ask for fewer, or add templates or words to the lexicons",
                )
        return tuple(pairs)

    def _pair(self, role: str, rng: random.Random, template: Template, forward: bool) -> Pair:
        letters = sorted(set(self.left + self.right))
        lexicon = self.family.lexicons[self.group[0]]
        words = self._draw(rng, lexicon, role, len(letters))
        named = dict(zip(letters, words, strict=True))
        others = {
            slot: self._draw(rng, self.family.lexicons[slot], role, 1)[0]
            for slot in dict.fromkeys(template.slots)
            if slot not in self.group
        }
        left, right = (
            self._prompt(template, pattern, named, others) for pattern in (self.left, self.right)
        )
        if self.node.arrow == "->":
            base, source = right, left
        else:
            base, source = (left, right) if forward else (right, left)
        answer = self._token(named[self.family.answer])
        foil = self._token(named[self.family.foil])
        same = shape_of(base.pattern) == shape_of(source.pattern)
        return Pair(base, source, answer, foil, answer if same else foil)

    def _draw(self, rng: random.Random, lexicon: Lexicon, role: str, count: int) -> list[str]:
        words = lexicon.part(role)
        if len(words) < count:
            raise wrong(
                "too-few-words",
                f"lexicon `{lexicon.name}` has {len(words)} {role} words; {count} are needed",
                self.node.span,
                "add words to it",
                [Label(lexicon.span, "the lexicon")],
            )
        return rng.sample(words, count)

    def _token(self, word: str) -> int:
        token = self.tokens.single(" " + word)
        if token is None:
            raise wrong(
                "not-one-token",
                f"the answer `{word}` is not one token",
                self.node.span,
                "fill the letters of the answer from a lexicon made by words(...)",
            )
        return token

    def _prompt(
        self, template: Template, pattern: str, named: dict[str, str], others: dict[str, str]
    ) -> Prompt:
        letter_of = dict(zip(self.group, pattern, strict=True))
        filled = _fill(template, letter_of, named, others)
        encoded = self.tokens.encode(filled.text)
        positions = tuple(
            (name, self._token_at(place, span, filled, encoded.ids, encoded.offsets))
            for name, place, span in self.family.places
        )
        return Prompt(filled.text, encoded.ids, positions, pattern)

    def _token_at(
        self,
        place: str,
        span: Span,
        filled: _Filled,
        ids: tuple[int, ...],
        offsets: tuple[tuple[int, int], ...],
    ) -> int:
        match = re.fullmatch(r"(\w+?)(?:\.(\d+))?([+-]\d+)?", place)
        assert match is not None
        name, number, offset = match[1], int(match[2] or 1), int(match[3] or 0)
        if name == "last":
            index = len(ids) - 1
        else:
            found = filled.occurrences.get(name, [])
            if not 1 <= number <= len(found):
                known = [
                    f"{k}.{i + 1}" for k, v in filled.occurrences.items() for i in range(len(v))
                ]
                raise wrong(
                    "unknown-position",
                    f"`{place}` is not in the prompt: {filled.text}",
                    span,
                    suggest(place, [*known, "last"], "places"),
                )
            end = found[number - 1][1]
            index = last_token_before(offsets, end)
        with located(span):
            if not 0 <= index + offset < len(ids):
                raise Mistake("position-range", f"`{place}` is outside the prompt: {filled.text}")
        return index + offset


def _fill(
    template: Template, letter_of: dict[str, str], named: dict[str, str], others: dict[str, str]
) -> _Filled:
    text = template.pieces[0]
    occurrences: dict[str, list[tuple[int, int]]] = {}
    for slot, piece in zip(template.slots, template.pieces[1:], strict=True):
        letter = letter_of.get(slot)
        word = named[letter] if letter is not None else others[slot]
        for name in (slot,) if letter is None else (slot, letter):
            occurrences.setdefault(name, []).append((len(text), len(text) + len(word)))
        text += word + piece
    return _Filled(text, occurrences)
