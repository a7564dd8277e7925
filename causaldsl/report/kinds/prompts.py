"""Pairs and texts: a few of every set, token by token, as the model read them."""

from __future__ import annotations

from collections.abc import Sized

from causaldsl.check.pairs import NO_TOKEN, Pair, PairSet, Prompt, PromptSet
from causaldsl.model.tokens import Tokens
from causaldsl.report.html.markup import Content, Html, join, prose, section, tag
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.view import View, made_by
from causaldsl.syntax import ast

_EXAMPLES = 3
_SHOWN = 4
"""How many members of a set of answers are shown."""


@kind
class Prompts(Kind[None]):
    page_place = 80

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        """How many there are; a link to examples, if the run used any."""
        name = made_by(statement)
        link = tag("a", "examples", href=f"#pairs-{name}")
        for texts in _texts(view):
            if texts.name == name:
                return tag("p", f"{len(texts)} texts: ", link, class_="small")
        parts = [] if name is None else _parts(view, name)
        if not parts:
            return None
        counts = [" ".join([str(len(p)), *p.name.split(".")[1:]]) for p in parts]
        noun = "pair" if counts == ["1"] else "pairs"
        shown = join(": ", link) if _used(view, parts) else None
        return tag("p", f"{', '.join(counts)} {noun}", shown, class_="small")

    def section(self, view: View) -> Html | None:
        """Examples of the pairs that the run used, part by part, then of its texts."""
        found = []
        for name in view.program.families:
            tables = [_examples(p, view.program.tokens) for p in _used(view, _parts(view, name))]
            if tables:
                found.append(_article(name, tables))
        tokens = view.program.tokens
        found += [_article(texts.name, [_first_texts(texts, tokens)]) for texts in _texts(view)]
        if not found:
            return None
        words = "Marked tokens are the named positions."
        marked = any(pair.base.positions for p in view.pairs for pair in p.pairs)
        bos = None if tokens is None else tag("p", "BOS: ", prose(tokens.about_bos), ".")
        return section("prompts", "Prompts", bos, tag("p", words) if marked else None, found)

    def facts(self, view: View) -> list[str]:
        """How many pairs of prompts the run used, and how many texts without answers."""
        texts = sum(map(len, _texts(view)))
        pairs = sum(map(len, view.pairs)) - texts
        return [
            *([f"{pairs} pair{'' if pairs == 1 else 's'} of prompts"] if pairs else []),
            *([f"{texts} text{'' if texts == 1 else 's'}"] if texts else []),
        ]


def _parts(view: View, name: str) -> list[PairSet]:
    """The training, test and whole sets of pairs that the program calls by this name."""
    family = view.program.families.get(name)
    return [p for p in (family.train, family.test, family.whole) if p] if family else []


def _used(view: View, parts: list[PairSet]) -> list[PairSet]:
    used = {pairs.name for pairs in view.pairs}
    return [part for part in parts if part.name in used]


def _texts(view: View) -> list[PromptSet]:
    return [pairs for pairs in view.pairs if isinstance(pairs, PromptSet)]


def _article(name: str, tables: list[Html]) -> Html:
    return tag("article", tag("h3", tag("code", name)), tables, id=f"pairs-{name}")


def _first_texts(texts: PromptSet, tokens: Tokens | None) -> Html:
    """The first few prompts without answers."""
    rows: list[list[Content]] = [
        [str(i), _prompt(pair.base, tokens), str(pair.base.length)]
        for i, pair in enumerate(texts.pairs[:_EXAMPLES], 1)
    ]
    caption = join(tag("b", texts.name), f", {len(texts)} texts: {_part(rows, texts)}")
    return table(["text", "", "tokens"], rows, caption, class_="prompts")


def _examples(pairs: PairSet, tokens: Tokens | None) -> Html:
    named = [name for name, side in pairs.sources.items() if name == side]
    sides = ["base", "source", *named]
    rows = [_row(i, pair, sides, tokens) for i, pair in enumerate(pairs.pairs[:_EXAMPLES], 1)]
    columns = ["pair", *sides]
    if tokens is not None:
        columns += ["answer", "foil", "counterfactual"]
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    caption = join(tag("b", pairs.name), f", {count}: {_part(rows, pairs)}")
    return table(columns, rows, caption, class_="prompts")


def _part(rows: Sized, pairs: Sized) -> str:
    return f"the first {len(rows)} of {len(pairs)}" if len(pairs) > len(rows) else "all"


def _row(number: int, pair: Pair, sides: list[str], tokens: Tokens | None) -> list[Content]:
    cells: list[Content] = [str(number)]
    cells += [_prompt(pair.prompt(side), tokens) for side in sides]
    if tokens is not None:
        cells += _answers(pair, tokens)
    return cells


def _answers(pair: Pair, tokens: Tokens) -> list[Content]:
    """Answer, foil and counterfactual answer: several tokens with bars, sets with commas."""
    if pair.spelled:
        shown = ["|".join(map(tokens.piece, word)) for word in pair.spelled]
        return [*(tag("code", text) for text in shown), ""]
    counterfactual = () if pair.counterfactual == NO_TOKEN else (pair.counterfactual,)
    found: list[Content] = []
    for members in (*pair.members, counterfactual):
        some = [tag("code", tokens.piece(token)) for token in members[:_SHOWN]]
        more = [f"... ({len(members)})"] if len(members) > _SHOWN else []
        found.append(join(*some, *more, by=", "))
    return found


def _prompt(prompt: Prompt, tokens: Tokens | None) -> Content:
    """What the model read, token by token, with its named positions marked.

    Line breaks and the like are written as in a program.
    """
    if tokens is None:
        return prompt.text
    names: dict[int, list[str]] = {}
    for name, index in prompt.named.items() if prompt.positions else ():
        names.setdefault(index, []).append(name)
    shown = []
    for index, token in enumerate(prompt.ids):
        piece = repr(tokens.piece(int(token)))[1:-1]
        marks = tag("small", " ".join(sorted(names[index]))) if index in names else None
        title = f"token {index}, id {int(token)}"
        shown.append(tag("mark" if marks else "span", piece, marks, class_="token", title=title))
    return join(*shown)
