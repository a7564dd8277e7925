"""A reader of an audit's verdict that knows nothing of how it was made.

Every clause of the text must be one that is listed here, and what it says must be so in the numbers
of the evidence. A bound is read from the text, so that a wrong one is found too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Shown = Mapping[str, Any]
"""The evidence by its name: numbers with `low`, `high` and `n`, or a float."""

_WORDS = {"a quarter": 1 / 4, "a third": 1 / 3, "half": 1 / 2}
_WORDS |= {"two thirds": 2 / 3, "three quarters": 3 / 4, "4/3": 4 / 3}
_COMPONENTS = (
    "of its effect lies in the activations' principal components, those that hold 99% of the "
    "variance and those that hold 99.9%"
)


def _above(*names: str) -> Callable[[Shown, float], bool]:
    return lambda shown, bound: all(_ends(shown[name])[0] > bound for name in names)


def _below(*names: str) -> Callable[[Shown, float], bool]:
    return lambda shown, bound: all(_ends(shown[name])[1] < bound for name in names)


def _ends(value: Any) -> tuple[float, float]:
    return (value, value) if isinstance(value, float) else (value.low, value.high)


def _mean(value: Any) -> float:
    return value if isinstance(value, float) else float(value.mean)


_EFFECT, _BOTH = "subspace effect", ("principal components", "more principal components")
_CLAUSES: tuple[tuple[str, str, Callable[[Shown, float], bool]], ...] = (
    ("feature", "more than @ of its movement of neurons is movement that they make by themselves",
     _above("natural neurons")),
    ("feature", "cut to what each neuron does by itself it keeps more than @ of its effect",
     _above("clip")),
    ("illusion", "cut to what each neuron does by itself it keeps less than @ of its effect",
     _below("clip")),
    ("feature", f"more than @ {_COMPONENTS}", _above(*_BOTH)),
    ("illusion", f"less than @ {_COMPONENTS}", _below(*_BOTH)),
    ("feature", "cut there to what each does by itself it keeps more than @ of it",
     _above("clip in components")),
    ("none", "it was measured on @ independent pairs?: an interval over fewer than # says too "
     "little for a verdict", lambda shown, n: shown[_EFFECT].n == n),
    ("none", "patching it pushes the output away from the source, as no feature does: #",
     lambda shown, _: shown[_EFFECT].high < 0),
    ("none", "its effect is not clearly above @, so there is nothing to explain: #",
     lambda shown, bound: shown[_EFFECT].high <= bound),
    ("none", "its effect is not clearly above @, so there may be nothing to explain: #",
     lambda shown, bound: shown[_EFFECT].low <= bound < shown[_EFFECT].high),
    ("none", "there is no natural movement to compare it with",
     lambda shown, _: not {"clip", *_BOTH} & set(shown)),
)  # fmt: skip
_CONTRADICT = "Two pieces contradict each other. "
_POINTS = re.compile(
    r" The first points to an? (\w+) \((.+)\), the second to an? (\w+) \((.+)\)\.$"
)
_LACKING: tuple[tuple[str, str], ...] = (
    ("natural neurons", "@ of its movement of neurons (?:is|may be) movement that they make by "
     "themselves"),
    ("clip", "cut to what each neuron does by itself it (?:keeps|may keep) @ of its effect"),
    ("clip in components",
     "cut to what each component does by itself it (?:keeps|may keep) @ of its effect"),
    ("principal components",
     "@ of its effect (?:lies|may lie) in the components that hold 99% of the variance"),
    ("more principal components",
     "@ of its effect (?:lies|may lie) in the components that hold 99.9% of the variance"),
    ("length in them",
     "@ of its squared length lies in the components that hold 99% of the variance"),
    ("along the mean change", "@ of its part in them is along the mean change, from which nothing "
     "else can be told apart"),
    ("whole component", "the whole component (?:has|may have) @ of its effect"),
)  # fmt: skip
"""What stands in the way of a verdict: the evidence, and its words around `more than a third`."""
_WHO = "(Neurons|Principal components)"
_BUT = re.compile(rf"{_WHO} would point to an? \w+, but (.+)")
_NEITHER = re.compile(rf"{_WHO} point neither to a feature \((.+)\) nor to an illusion \((.+)\)")


def read(rule: str, verdict: str, shown: Shown) -> list[str]:
    """Which way each sentence of a rule points; an AssertionError where one is not so."""
    contradicts = rule.startswith(_CONTRADICT)
    end = _POINTS.search(rule)
    assert contradicts == (end is not None), rule
    body = rule.removeprefix(_CONTRADICT)[: -len(end[0]) if end else None]
    assert body.endswith("."), rule
    sentences = [_sentence(one, shown) for one in body[:-1].split(". ")]
    if end:
        assert sentences == [end[1], end[3]], rule
        for said in ", ".join((end[2], end[4])).split("), "):
            name, value = said.removesuffix(")").rsplit(" (")[0].rsplit(" ", 1)
            assert float(value) == pytest.approx(shown[name].mean, abs=0.0051), rule
        assert verdict == "inconclusive"
    else:
        meant = {"illusory": "illusion", "faithful": "feature", "inconclusive": "none"}[verdict]
        assert set(sentences) == {meant}, rule
    return sentences


def _sentence(text: str, shown: Shown) -> str:
    assert text[0].isupper(), text
    if found := _BUT.fullmatch(text) or _NEITHER.fullmatch(text):
        assert all(lacks(one, shown) for part in found.groups()[1:] for one in part.split("; "))
        return "none"
    (way,) = {_clause(one, shown) for one in (text[0].lower() + text[1:]).split("; ")}
    return way


def lacks(text: str, shown: Shown) -> str:
    """The evidence that a clause says is not as a verdict needs it, which must be so."""
    than = "(more|less|no more|no less) than (.+)"
    for name, pattern in _LACKING:
        if found := re.fullmatch(
            f"{pattern.replace('@', than)}: ([^,]+)(?:, (up|down) to (.+))?", text
        ):
            way, bound, value, towards, end = found.groups()
            ends = _ends(shown[name])
            limit = _WORDS[bound] if bound in _WORDS else float(bound)
            # What may be needs one end over there, what is needs both.
            over = [(e > limit) if way == "more" else (e < limit) for e in ends]
            assert (any if " may " in text else all)(over) or limit in ends, (text, ends)
            assert float(value) == pytest.approx(_mean(shown[name]), abs=0.0051), text
            if towards:
                assert float(end) == pytest.approx(ends[towards == "up"], abs=0.0051), text
                assert (float(end) > limit) == (ends[towards == "up"] > limit), text
            return name
    raise AssertionError(f"an unknown condition: {text}")


def _clause(text: str, shown: Shown) -> str:
    for way, pattern, so in _CLAUSES:
        escaped = re.escape(pattern).replace("@", "(.+)").replace(r"\#", ".+").replace(r"\?", "?")
        if found := re.fullmatch(escaped, text):
            bound = found[1] if found.groups() else "0"
            assert so(shown, _WORDS[bound] if bound in _WORDS else float(bound)), (text, shown)
            return way
    raise AssertionError(f"an unknown clause: {text}")
