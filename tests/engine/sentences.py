"""A reader of an audit's verdict that knows nothing of how it was made.

Every clause of the text must be one that is listed here, and what it says must be so in the numbers
of the evidence. A bound is read from the text, so that a wrong one is found too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Shown = Mapping[str, Any]
"""The evidence by its name: numbers with `low`, `high` and `n`, or a float."""

_WORDS = {"a quarter": 1 / 4, "a third": 1 / 3, "half": 1 / 2}
_WORDS |= {"two thirds": 2 / 3, "three quarters": 3 / 4}
_COMPONENTS = (
    "of its effect lies in the activations' principal components, those that hold 99% of the "
    "variance and those that hold 99.9%"
)
_ASIDE = "do not tell a feature from an illusion here"


def _above(*names: str) -> Callable[[Shown, float], bool]:
    return lambda shown, bound: all(_ends(shown[name])[0] > bound for name in names)


def _below(*names: str) -> Callable[[Shown, float], bool]:
    return lambda shown, bound: all(_ends(shown[name])[1] < bound for name in names)


def _ends(value: Any) -> tuple[float, float]:
    return (value, value) if isinstance(value, float) else (value.low, value.high)


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
    ("none", "more than @ of its part there is along the mean change, from which nothing else can "
     "be told apart", _above("along the mean change")),
    ("none", "it was measured on @ independent pairs?: an interval over fewer than # says too "
     "little for a verdict", lambda shown, n: shown[_EFFECT].n == n),
    ("none", "patching it pushes the output away from the source, as no feature does",
     lambda shown, _: shown[_EFFECT].high < 0),
    ("none", "its effect is not clearly above @: there is nothing to explain",
     lambda shown, bound: shown[_EFFECT].high <= bound),
    ("none", "its effect is not clearly above @: there may be nothing to explain",
     lambda shown, bound: shown[_EFFECT].low <= bound < shown[_EFFECT].high),
    ("none", f"neurons and principal components {_ASIDE}", lambda shown, _: "clip" in shown),
    ("none", f"principal components {_ASIDE}", lambda shown, _: "clip" not in shown),
    ("none", f"neurons {_ASIDE}", lambda shown, _: _BOTH[0] not in shown),
    ("none", "there is no natural movement to compare it with",
     lambda shown, _: not {"clip", *_BOTH} & set(shown)),
)  # fmt: skip
_CONTRADICT = "Two pieces contradict each other. "
_POINTS = re.compile(r" The first points to an? (\w+), the second to an? (\w+)\.$")


def read(rule: str, verdict: str, shown: Shown) -> list[str]:
    """Which way each sentence of a rule points; an AssertionError where one is not so."""
    contradicts = rule.startswith(_CONTRADICT)
    end = _POINTS.search(rule)
    assert contradicts == (end is not None), rule
    body = rule.removeprefix(_CONTRADICT)[: -len(end[0]) if end else None]
    assert body.endswith("."), rule
    sentences = [_sentence(one, shown) for one in body[:-1].split(". ")]
    if end:
        assert sentences == list(end.groups()), rule
        assert verdict == "inconclusive"
    else:
        meant = {"illusory": "illusion", "faithful": "feature", "inconclusive": "none"}[verdict]
        assert set(sentences) == {meant}, rule
    return sentences


def _sentence(text: str, shown: Shown) -> str:
    assert text[0].isupper(), text
    (way,) = {_clause(one, shown) for one in (text[0].lower() + text[1:]).split("; ")}
    return way


def _clause(text: str, shown: Shown) -> str:
    for way, pattern, so in _CLAUSES:
        escaped = re.escape(pattern).replace("@", "(.+)").replace(r"\#", ".+").replace(r"\?", "?")
        if found := re.fullmatch(escaped, text):
            bound = found[1] if found.groups() else "0"
            assert so(shown, _WORDS[bound] if bound in _WORDS else float(bound)), (text, shown)
            return way
    raise AssertionError(f"an unknown clause: {text}")
