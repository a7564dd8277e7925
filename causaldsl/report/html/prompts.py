"""A few pairs of every set, so that a reader sees what the model was given."""

from __future__ import annotations

from causaldsl.check.pairs import Pair, PairSet, Prompt, PromptSet
from causaldsl.model.tokens import Tokens
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import table
from causaldsl.report.html.view import View

_EXAMPLES = 3


def prompts_section(view: View) -> Html | None:
    """Examples of the pairs that the run used, part by part."""
    used = {pairs.name for pairs in view.graph.pairs.values()}
    tokens = view.program.tokens
    parts = []
    for name, family in view.program.families.items():
        sets = [p for p in (family.train, family.test, family.whole) if p and p.name in used]
        tables = [_examples(pairs, tokens) for pairs in sets]
        if tables:
            parts.append(tag("article", tag("h3", tag("code", name)), tables, id=f"pairs-{name}"))
    for texts in view.graph.pairs.values():
        if isinstance(texts, PromptSet):
            title = tag("h3", tag("code", texts.name))
            parts.append(tag("article", title, _texts(texts), id=f"pairs-{texts.name}"))
    if not parts:
        return None
    words = "Marked words are the named positions, read at their last token."
    marked = any(pair.base.positions for p in view.graph.pairs.values() for pair in p.pairs)
    return tag(
        "section",
        tag("h2", "Prompts"),
        tag("p", words) if marked else None,
        parts,
        id="prompts",
    )


def counts(view: View) -> list[str]:
    """How many pairs of prompts the run used, and how many texts without answers."""
    found = []
    for noun, texts in (("pair of prompts", False), ("text", True)):
        sets = [p for p in view.graph.pairs.values() if isinstance(p, PromptSet) == texts]
        total = sum(len(pairs) for pairs in sets)
        first, *rest = noun.split(" ")
        if total:
            found.append(" ".join([str(total), first + ("" if total == 1 else "s"), *rest]))
    return found


def _texts(texts: PromptSet) -> Html:
    """The first few prompts without answers; line breaks and the like as they are in a program."""
    rows: list[list[Content]] = [
        [str(i), repr(pair.base.text)[1:-1], str(pair.base.length)]
        for i, pair in enumerate(texts.pairs[:_EXAMPLES], 1)
    ]
    shown = f"the first {len(rows)} of {len(texts)}" if len(texts) > len(rows) else "all"
    caption = join(tag("b", texts.name), f", n = {len(texts)}: {shown}")
    return table(["text", "", "tokens"], rows, caption, class_="prompts")


def _examples(pairs: PairSet, tokens: Tokens | None) -> Html:
    rows = [_row(i, pair, tokens) for i, pair in enumerate(pairs.pairs[:_EXAMPLES], 1)]
    columns = ["pair", "base", "source"]
    if tokens is not None:
        columns += ["answer", "foil", "counterfactual"]
    shown = f"the first {len(rows)} of {len(pairs)}" if len(pairs) > len(rows) else "all"
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    caption = join(tag("b", pairs.name), f", {count}: {shown}")
    return table(columns, rows, caption, class_="prompts")


def _row(number: int, pair: Pair, tokens: Tokens | None) -> list[Content]:
    cells: list[Content] = [str(number)]
    cells += [_prompt(prompt, tokens) for prompt in (pair.base, pair.source)]
    if tokens is not None:
        words = (pair.answer, pair.foil, pair.counterfactual)
        cells += [tag("code", tokens.piece(word)) for word in words]
    return cells


def _prompt(prompt: Prompt, tokens: Tokens | None) -> Content:
    """The text with its named positions marked."""
    if tokens is None:
        return prompt.text
    offsets = tokens.encode(prompt.text).offsets
    names: dict[int, list[str]] = {}
    for name, index in prompt.named.items():
        names.setdefault(index, []).append(name)
    pieces: list[Html] = []
    done = 0
    for index in sorted(names):
        start, end = offsets[index] if index < len(offsets) else (0, 0)
        if start < done or end <= start:
            continue
        label = tag("small", " ".join(sorted(names[index])))
        pieces.append(join(prompt.text[done:start], tag("mark", prompt.text[start:end], label)))
        done = end
    return join(pieces, prompt.text[done:])
