"""The answers and foils of pairs that are made from templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from causaldsl.check.filling import Filling, check_column, spaced
from causaldsl.check.pairs import Pair, Prompt, answered
from causaldsl.check.prompts import AnswerOf, Lexicon, PromptFamily
from causaldsl.diagnostics import wrong
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast

_FEW_CLASSES = 10
"""Answers are classes where there are at most so many."""


class Answering:
    """What is an answer, and what a foil, in the pairs of one statement.

    ``lexicon`` fills the letters, of which ``slots`` has the left and the right one by slot. With
    ``whole``, answers may have several tokens. ``dropped`` are words of each lexicon beside which
    an answer of several tokens stands. ``by_source`` says that the foil is the source's answer.
    """

    def __init__(
        self,
        family: PromptFamily,
        node: ast.PatternPairs,
        tokens: Tokens,
        lexicon: Lexicon,
        slots: Mapping[str, tuple[str, str]],
        whole: bool,
    ):
        self.family, self.node, self.tokens = family, node, tokens
        self.lexicon, self.whole = lexicon, whole
        self.dropped: dict[str, list[str]] = {}
        self._seen: set[tuple[str, str, str]] = set()
        left, right = (tuple(letters) for letters in zip(*slots.values(), strict=True))
        # In `SOURCE -> BASE` the left side is the source; `<->` takes both in turn.
        bases = {"<->": (left, right), "<-": (left,)}.get(str(node.arrow), (right,))
        for base in bases:
            self._check_letters("".join(base))
        others = [slots.get(word.name, ("", "")) for word in family.answer]
        self.by_source = family.foil is None and any(one != other for one, other in others)
        if whole:
            self._check_whole()
        self._classes = self._answer_classes()

    def pair(
        self, base: Prompt, source: Prompt, of_base: Filling, of_source: Filling, template: str
    ) -> Pair | None:
        """The pair of these prompts; None if something is answer and foil, or nothing is either."""
        foil = self.family.foil
        texts = [self._texts(self.family.answer, of_base, base)]
        if foil is not None:
            texts.append(self._texts(foil, of_base, base))
        elif self.by_source:
            texts.append(self._texts(self.family.answer, of_source, base))
        if not all(texts) or len({text for some in texts for text in some}) < sum(map(len, texts)):
            return None
        spelled: tuple[tuple[int, ...], ...] = ()
        if self.whole:
            spelled = tuple(self.tokens.continuation(text) for (text,) in texts)
        if all(len(tokens) == 1 for tokens in spelled):
            spelled = ()
        sets = [tokens[:1] for tokens in spelled] or [tuple(map(self._token, t)) for t in texts]
        if spelled or base.begins_line:
            self._check_goes_on(base, texts, spelled or [(t,) for some in sets for t in some])
        same = base.cls == source.cls and foil is not None
        counterfactual = sets[0][0] if same else None
        sets = [*sets, ()][:2]
        return answered(base, source, sets, counterfactual, template, spelled=spelled)

    def _check_goes_on(
        self, base: Prompt, texts: Sequence[Sequence[str]], tokens: Sequence[Sequence[int]]
    ) -> None:
        """Answers are the tokens that their texts have behind the prompt."""
        for text, more in zip((t for some in texts for t in some), tokens, strict=True):
            # Whether it is depends on how the prompt ends.
            place = base.text[-20:], base.behind, text
            if place in self._seen:
                continue
            self._seen.add(place)
            if not self.tokens.goes_on(base.text, base.ids, text, more):
                raise wrong(
                    "not-a-continuation",
                    f"the answer `{text}` is not cut from {base.end[-20:]!r} between two tokens",
                    self.node.span,
                    "choose answers that are one token there, or write `answers whole`"
                    if not self.whole
                    else "choose other answers, or another end of the prompt",
                )

    def class_of(self, filling: Filling) -> str:
        """A prompt's answer, where it is its class; else ""."""
        if not self._classes:
            return ""
        (word,) = self.family.answer
        return self._words(word, filling)[0]

    def _texts(self, words: Sequence[AnswerOf], filling: Filling, base: Prompt) -> list[str]:
        """Answers as they follow the base, each once: a text as it is, a word behind a space.

        A number goes on without one.
        """
        found = []
        for word in words:
            for text in [word.text] if word.literal else self._words(word, filling):
                goes_on = base.end[-1:].isdigit() and text[:1].isdigit()
                found.append(text if word.literal or goes_on else self._follows(text))
        return list(dict.fromkeys(found))

    def _follows(self, word: str) -> str:
        """A word as an answer: behind a space, but at the beginning of a line."""
        begins = self.tokens.frame is not None and self.tokens.frame.behind[-1:].isspace()
        return word if begins else spaced(word)

    def _words(self, word: AnswerOf, filling: Filling) -> list[str]:
        lexicon = self._lexicon_of(word)
        return word.words(lexicon, filling.word(word.name), self.dropped.get(lexicon.name, ()))

    def _lexicon_of(self, word: AnswerOf) -> Lexicon:
        return self.family.lexicons.get(word.name, self.lexicon)

    def _check_letters(self, base: str) -> None:
        for word in (*self.family.answer, *(self.family.foil or ())):
            if not word.literal and word.name not in (*base, *self.family.lexicons):
                raise wrong(
                    "answer-letter",
                    f"pattern {base} is the base but has no letter {word.name}",
                    self.node.span,
                    f"the prompts say: {self.family.answers}",
                )
            if not word.literal:
                lexicon = self._lexicon_of(word)
                check_column(word.name, word.column, lexicon, word.span)
                if (lexicon.columns or self.tokens.frame is not None) and not self.whole:
                    self._drop(lexicon, word.column)

    def _drop(self, lexicon: Lexicon, column: str) -> None:
        """Leave out the words beside which an answer is not one token."""
        found = self.dropped.setdefault(lexicon.name, [])
        for word in lexicon.words:
            if (
                word not in found
                and self.tokens.single(self._follows(lexicon.beside(word, column))) is None
            ):
                found.append(word)

    def _check_whole(self) -> None:
        """Answers of several tokens are compared one by one."""
        sets = (self.family.answer, self.family.foil or self.family.answer)
        several = any(len(words) > 1 or words[0].select for words in sets)
        if several or not (self.family.foil or self.by_source):
            raise wrong(
                "answer-sets",
                "with `answers whole` there is one answer and one foil",
                self.node.span,
                "leave out `answers whole` for sets of answers, and where there is no foil",
            )

    def _answer_classes(self) -> bool:
        """Whether a prompt's answer is its class: the source has another one, and they are few."""
        (first, *others) = self.family.answer
        if not self.by_source or others or first.select:
            return False
        words = {self.lexicon.beside(word, first.column) for word in self.lexicon.words}
        return len(words) <= _FEW_CLASSES

    def _token(self, word: str) -> int:
        token = self.tokens.single(word)
        if token is None:
            shown = "|".join(self.tokens.pieces(word)).strip()
            raise wrong(
                "not-one-token",
                f"the answer `{word.strip()}` is not one token: {shown}",
                self.node.span,
                "fill the letters of the answer from a lexicon made by words(...), or choose "
                "another text",
            )
        return token
