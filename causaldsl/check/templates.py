"""Making pairs from templates: `pairs p = prompts ABB <-> BAB { train 300 ... }`."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from causaldsl.check.answering import Answering
from causaldsl.check.filling import Filled, Filling, check_column, fill
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import Pair, PairSet, Prompt, shape_of
from causaldsl.check.prompts import Lexicon, PromptFamily, Template
from causaldsl.diagnostics import Label, Mistake, Span, located, suggest, wrong
from causaldsl.model.tokens import Tokens, last_token_before
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import SIDES

WORDS = ("same", "answers", "where")
"""The options whose values are words: `same lemma`, `answers whole`, `where correct`."""
_KNOWN = {"answers": ("whole", "answers of one token"), "where": ("correct", "all pairs")}
"""The word of an option that has one, and what is so without it."""
_MISSES = 5000
"""Draws in a row that gave a pair already made, after which there are taken to be no others."""


class PairMaker:
    """Makes the pairs of one `pairs NAME = prompts LEFT <-> RIGHT {...}` statement."""

    def __init__(self, family: PromptFamily, node: ast.PatternPairs, tokens: Tokens):
        self.family, self.node = family, node
        with located(family.span):
            self.tokens = tokens = tokens.framed(family.frame)
        self.left = node.left.text
        self.right = node.right.text if node.right else self.left
        self.sources = {one.name.text: one.pattern.text for one in node.sources}
        self.patterns = (self.left, self.right, *self.sources.values())
        self.options, words = self._options()
        self.same, self.whole = words.get("same", ""), "answers" in words
        self.where = words.get("where", "")
        self.group = self._pattern_group()
        self.lexicon = family.lexicons[self.group[0]]
        self._made: dict[tuple[str, ...], Prompt] = {}
        """Prompts by their template, pattern and words: of few words the same ones come often."""
        self._check_letters()
        if self.same:
            check_column(self.group[0], self.same, self.lexicon, node.span)
        if len(self.sources) < len(node.sources):
            raise self._bad_source("two sources have one name")
        if fixed := {*SIDES, "all", "END"} & self.sources.keys():
            raise self._bad_source(f"a source can't be called `{min(fixed)}`")
        slots = dict(zip(self.group, zip(self.left, self.right, strict=True), strict=True))
        self.answers = Answering(family, node, tokens, self.lexicon, slots, self.whole)
        self.dropped = self.answers.dropped

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
                parts[role] = PairSet(
                    f"{name}.{role}",
                    pairs,
                    patterns=not self.answers.by_source,
                    paired=self.node.arrow is not None,
                )
        if not any(parts.values()):
            raise wrong(
                "no-pairs",
                f"`{name}` asks for no pairs",
                self.node.span,
                "say how many: { train 300  test 150  seed 0 }",
            )
        named_at = tuple((one.name.text, one.name.span) for one in self.node.sources)
        family = PairFamily(name, parts["train"], parts["test"], named_at=named_at)
        return family.only(self.where)

    def _bad_source(self, message: str) -> Exception:
        span = self.node.sources[0].span.to(self.node.sources[-1].span)
        return wrong("bad-source", message, span, "call it otherwise")

    def _options(self) -> tuple[dict[str, int], dict[str, str]]:
        """The numbers, and the words."""
        options: dict[str, int] = {}
        words: dict[str, str] = {}
        for option in self.node.options:
            if option.name in WORDS and option.name not in words:
                words[option.name] = option.value
                continue
            if not option.value.isdigit():
                raise wrong(
                    "bad-option",
                    f"`{option.name} {option.value}` is not a whole number",
                    option.span,
                )
            if option.name in options:
                raise wrong("option-twice", f"`{option.name}` is given twice", option.span)
            options[option.name] = int(option.value)
        for name, (known, otherwise) in _KNOWN.items():
            if words.get(name, known) != known:
                message = f"`{name}` can't be `{words[name]}`"
                way = f"write `{name} {known}`, or leave it out for {otherwise}"
                raise wrong("bad-option", message, self.node.span, way)
        return options, words

    def _pattern_group(self) -> tuple[str, ...]:
        sources = (one.pattern for one in self.node.sources)
        for side in filter(None, (self.node.left, self.node.right, *sources)):
            fitting = self._fitting(side.text)
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
        return self._fitting(self.left)[0]

    def _fitting(self, pattern: str) -> list[tuple[str, ...]]:
        """The groups of as many slots; of several, the one that the answer is from."""
        fitting = [group for group in self.family.groups if len(group) == len(pattern)]
        answered = [g for g in fitting if any(word.name in g for word in self.family.answer)]
        return answered or fitting

    def _check_letters(self) -> None:
        clash = sorted(set("".join(self.patterns)) & set(self.family.lexicons))
        if clash:
            raise wrong(
                "slot-letter",
                f"`{clash[0]}` is a letter of the pattern and also a slot of the template",
                self.node.span,
                "call the slots by other letters, such as X Y Z",
                [Label(self.family.span, "the prompts")],
            )

    def _sample(
        self, role: str, count: int, seed: int, taken: set[tuple[str, str]]
    ) -> tuple[Pair, ...]:
        templates = self.family.of_role(role)
        for template in templates:
            unused = [slot for slot in self.group if slot not in template.letters]
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
        prompts: set[str] = set()
        # Few prompts can be made of single words. Pairs that share some would all be one unit.
        apart = self.answers.by_source
        misses = 0  # in a row
        while len(pairs) < count:
            pair = self._pair(role, rng, rng.choice(templates), forward=len(pairs) % 2 == 0)
            misses += 1
            used = pair is None or pair.identity in taken
            if (
                pair is not None
                and not used
                and not (apart and prompts & {p.text for p in pair.prompts})
            ):
                taken.add(pair.identity)
                prompts |= {prompt.text for prompt in pair.prompts}
                pairs.append(pair)
                misses = 0
            elif misses > _MISSES:
                raise wrong(
                    "too-few-pairs",
                    f"only about {len(pairs)} different {role} pairs"
                    f"{' that share no prompt' * apart} can be made, not {count}",
                    self.node.span,
                    "ask for fewer, or add templates or words to the lexicons",
                )
        return tuple(pairs)

    def _pair(
        self, role: str, rng: random.Random, template: Template, forward: bool
    ) -> Pair | None:
        """One more pair; None if the words that were drawn make answer and foil the same."""
        letters = sorted(set("".join(self.patterns)))
        words = self._draw(rng, self.lexicon, role, len(letters), self.same)
        named = dict(zip(letters, words, strict=True))
        others = {
            slot: self._draw(rng, self.family.lexicons[slot], role, 1)[0]
            for slot in template.letters
            if slot not in self.group
        }
        patterns = self.patterns
        if not self.sources and (self.node.arrow == "->" or not forward):
            patterns = self.right, self.left
        filling = [Filling(dict(zip(self.group, p, strict=True)), named, others) for p in patterns]
        base, source, *rest = (self._prompt(template, own) for own in filling)
        pair = self.answers.pair(base, source, filling[0], filling[1], template.text)
        if pair is None or not self.sources:
            return pair
        plain = (replace(prompt, cls="") for prompt in rest)
        return replace(pair, others=tuple(zip(self.sources, plain, strict=True)))

    def _draw(
        self, rng: random.Random, lexicon: Lexicon, role: str, count: int, same: str = ""
    ) -> list[str]:
        """So many words for a role, all alike in the column ``same``, if one is named."""
        dropped = self.dropped.get(lexicon.name, ())
        if same:
            alike = [[w for w in words if w not in dropped] for words in lexicon.alike(same, role)]
            several = [words for words in alike if len(words) >= count]
            if not several:
                raise self._too_few(lexicon, f"no {count} {role} words of the same `{same}`")
            return rng.sample(rng.choice(several), count)
        words = [word for word in lexicon.of_role(role) if word not in dropped]
        if len(words) < count:
            raise self._too_few(lexicon, f"{len(words)} {role} words; {count} are needed")
        return rng.sample(words, count)

    def _too_few(self, lexicon: Lexicon, has: str) -> Exception:
        return wrong(
            "too-few-words",
            f"lexicon `{lexicon.name}` has {has}",
            self.node.span,
            "add words to it",
            [Label(lexicon.span, "the lexicon")],
        )

    def _prompt(self, template: Template, filling: Filling) -> Prompt:
        words = filling.named.values(), filling.others.values()
        made = (*template.pieces, filling.pattern, *words[0], *words[1])
        if made not in self._made:
            self._made[made] = self._new_prompt(template, filling)
        return self._made[made]

    def _new_prompt(self, template: Template, filling: Filling) -> Prompt:
        pattern = filling.pattern
        filled = fill(template, filling, self.family.lexicons)
        encoded = self.tokens.encode(filled.text)
        positions = tuple(
            (name, self._token_at(place, span, filled, encoded.ids, encoded.offsets))
            for name, place, span in self.family.places
            if not self._only_in_the_other(place, pattern)
        )
        behind = self.tokens.frame.behind if self.tokens.frame is not None else ""
        return Prompt(filled.text, encoded.ids, positions, self._class_of(filling), behind)

    def _class_of(self, filling: Filling) -> str:
        """The answer, where sources have another; else that of the pattern: CDD beside ABB is an
        ABB, for they have one shape."""
        if self.answers.by_source:
            return self.answers.class_of(filling)
        pattern = filling.pattern
        alike = (p for p in self.patterns if shape_of(p) == shape_of(pattern))
        return min(alike)

    def _only_in_the_other(self, place: str, pattern: str) -> bool:
        """Whether a place is at a letter of the other prompt's pattern alone.

        In DCD -> ABB the source has no A.1; only using that position there would be wrong.
        """
        match = re.match(r"\w+", place)
        letter = match[0] if match else ""
        return letter not in pattern and letter in "".join(self.patterns)

    def _token_at(
        self,
        place: str,
        span: Span,
        filled: Filled,
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
                    f"{k}.{i + 1}"
                    for k, v in filled.occurrences.items()
                    for i in range(len(v))
                    if "." not in k
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
