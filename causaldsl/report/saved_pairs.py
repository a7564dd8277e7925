"""The pairs of a run as JSON lines that `jsonl(...)` reads back."""

from __future__ import annotations

import json
from typing import Any

from causaldsl.check.pairs import NO_TOKEN, Pair, PairSet, Prompt, PromptSet
from causaldsl.model.tokens import Tokens


def saved_lines(pairs: PairSet, tokens: Tokens | None) -> list[str]:
    """A JSON line for each pair, or for each prompt of a set without answers."""
    if isinstance(pairs, PromptSet):
        found = [_prompt(pair.base) for pair in pairs.pairs]
    elif tokens is None:
        found = [_numbers(pair) for pair in pairs.pairs]
    else:
        found = [_pair(pair, tokens) for pair in pairs.pairs]
    return [json.dumps(line, ensure_ascii=False) for line in found]


def _pair(pair: Pair, tokens: Tokens) -> dict[str, Any]:
    base, source = pair.base, pair.source
    sides = {"base": base, "source": source, **dict(pair.others)}
    line: dict[str, Any] = {
        "base": base.text,
        "source": source.text,
        **({"sources": {name: prompt.text for name, prompt in pair.others}} if pair.others else {}),
        **_answers(pair, tokens),
        "positions": {
            name: {s: p.named[name] for s, p in sides.items() if name in p.named}
            for name in dict.fromkeys(name for prompt in sides.values() for name in prompt.named)
            if name != "END"  # the last token, in every file
        },
        "tokens": {side: prompt.ids for side, prompt in sides.items()},
    }
    if base.behind:
        line["frame"] = "chat"
    if base.cls:
        line["class"] = {"base": base.cls, "source": source.cls}
    named = {"template": pair.template, "cluster": pair.cluster}
    return line | {name: text for name, text in named.items() if text}


def _answers(pair: Pair, tokens: Tokens) -> dict[str, Any]:
    """Those of several tokens as `answers: whole` reads them; their counterfactual is the foil.

    Sets are lists, and what has no foil has none here.
    """
    if pair.spelled:
        answer, foil = map(tokens.decode, pair.spelled)
        return {"answer": answer, "foil": foil}
    if pair.sets:
        answers, foils = ([tokens.piece(token) for token in members] for members in pair.sets)
        named = {"answer": answers, "foil": foils} if foils else {"answer": answers}
        given = pair.counterfactual not in (pair.foil, NO_TOKEN)
        own = {"counterfactual_answer": tokens.piece(pair.counterfactual)} if given else {}
        return named | own
    return {
        "answer": tokens.piece(pair.answer),
        "foil": tokens.piece(pair.foil),
        "counterfactual_answer": tokens.piece(pair.counterfactual),
    }


def _numbers(pair: Pair) -> dict[str, Any]:
    return {"base": pair.base.ids[0], "source": pair.source.ids[0]}


def _prompt(prompt: Prompt) -> dict[str, Any]:
    return {"text": prompt.text, "tokens": prompt.ids}
