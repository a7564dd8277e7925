"""Making pairs from templates: `pairs p = prompts ABB <-> BAB { train 300 ... }`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from causaldsl.check.pairs import Pair, PairFamily, PairSet, Prompt, shape_of
from causaldsl.check.prompts import Lexicon, PromptFamily, Template
from causaldsl.diagnostics import Label, Mistake, Span, located, suggest, wrong
from causaldsl.model.tokens import Tokens, last_token_before
from causaldsl.syntax import ast


@dataclass(frozen=True)
class _Filled:
    """A prompt's text with the character spans of every slot and letter, in order."""

    text: str
    occurrences: dict[str, list[tuple[int, int]]]


_MISSES = 5000
"""Draws in a row that gave a pair already made, after which there are taken to be no others."""


class PairMaker:
    """Makes the pairs of one `pairs NAME = prompts LEFT <-> RIGHT {...}` statement."""

    def __init__(self, family: PromptFamily, node: ast.PatternPairs, tokens: Tokens):
        self.family, self.node, self.tokens = family, node, tokens
        self.left, self.right = node.left.text, node.right.text
        self.options = self._options()
        self.group = self._pattern_group()
        self._made: dict[tuple[str, ...], Prompt] = {}
        """Prompts by their template, pattern and words: of few words the same ones come often."""
        self._check_letters()
        # In `SOURCE -> BASE` the left side is the source; `<->` takes both in turn.
        for base in (self.left, self.right) if node.arrow == "<->" else (self.right,):
            self._check_answers(base)

    @property
    def count(self) -> int:
        """How many pairs it is to make."""
        return sum(self.options.get(role, 0) for role in ("train", "test"))

    def family_of(self, name: str) -> PairFamily:
        options = self.options
        seed = options.get("seed", 0)
        parts: dict[str, PairSet | None] = {"train": None, "test": None}
        taken: set[tuple[str, str]] = set()
        for role in parts:
            if options.get(role):
                pairs = self._sample(role, options[role], seed, taken)
                parts[role] = PairSet(f"{name}.{role}", pairs, patterns=True)
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
        misses = 0  # in a row
        while len(pairs) < count:
            pair = self._pair(role, rng, rng.choice(templates), forward=len(pairs) % 2 == 0)
            misses += 1
            if pair.identity not in taken:
                taken.add(pair.identity)
                pairs.append(pair)
                misses = 0
            elif misses > _MISSES:
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
        counterfactual = answer if base.cls == source.cls else foil
        return Pair(base, source, answer, foil, counterfactual, template.text)

    def _draw(self, rng: random.Random, lexicon: Lexicon, role: str, count: int) -> list[str]:
        words = lexicon.of_role(role)
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
        made = (*template.pieces, pattern, *named.values(), *others.values())
        if made not in self._made:
            self._made[made] = self._new_prompt(template, pattern, named, others)
        return self._made[made]

    def _new_prompt(
        self, template: Template, pattern: str, named: dict[str, str], others: dict[str, str]
    ) -> Prompt:
        letter_of = dict(zip(self.group, pattern, strict=True))
        filled = _fill(template, letter_of, named, others)
        encoded = self.tokens.encode(filled.text)
        positions = tuple(
            (name, self._token_at(place, span, filled, encoded.ids, encoded.offsets))
            for name, place, span in self.family.places
            if not self._only_in_the_other(place, pattern)
        )
        return Prompt(filled.text, encoded.ids, positions, self._class_of(pattern))

    def _class_of(self, pattern: str) -> str:
        """The class of a pattern: CDD beside ABB is an ABB, for they have one shape."""
        alike = (p for p in (self.left, self.right) if shape_of(p) == shape_of(pattern))
        return min(alike)

    def _only_in_the_other(self, place: str, pattern: str) -> bool:
        """Whether a place is at a letter of the other prompt's pattern alone.

        In DCD -> ABB the source has no A.1; only using that position there would be wrong.
        """
        match = re.match(r"\w+", place)
        letter = match[0] if match else ""
        return letter not in pattern and letter in (*self.left, *self.right)

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
