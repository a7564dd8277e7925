"""Wrong inputs without end: bytes, tokens and sentences of the grammar, each from its own seed."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from lark.grammar import NonTerminal, Terminal

from causaldsl.syntax.grammar import parser

ROOT = Path(__file__).parents[2]
CORPUS = sorted(
    [*ROOT.glob("programs/*.cpatch"), *(ROOT / "tests/frontend/corpus").glob("*.cpatch")]
)
_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|\w+|\s+|<->|->|\.\.|[<>=!]=|.', re.S)
_ODD = [
    *(
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "\ud83d\ude00",
        "\uff41",
        "\u0663",
        "\r",
        "\n\n",
        "\t",
    ),
    *(
        '"',
        "\\",
        "#",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "@",
        "..",
        "->",
        "<->",
        "=",
        "==",
        ":",
        ",",
        ".",
    ),
    *("1e999", "0.0", "-", "9" * 40, "9" * 500, "a" * 200, "1.10", "\\u0000", '"\\ud800"', '"' * 3),
    *("let", "to", "on", "in", "half", "train", "clean", "base", "source", "all", "END", "layers"),
]
_WORDS = """
lm flip flip.train flip.test ioi name place mid v w m s t h a b c x IO S2 END all layers
heads positions mlps head kv_head resid_post resid_mid mlp_hidden mlp_out attn_out embed
W_out W_U patch ablate steer resample das pca mean_difference random span row null project
complement cos norm abs max min mean illusion jsonl words phrases corpus numbers hook
random_mlp fldd logit_diff kl along zero along freeze layernorm none recompute frozen
attention dim seed base source ABB BAB clean total explained number
"""
_NAMES = _WORDS.split()
_TEXTS = ['"tiny-llama"', '"names.txt"', '"even.jsonl"', '"texts.txt"', '"The {X} {Y} and {Z}"']


def program(seed: int) -> str:
    """One text: a third each of damaged bytes, of other tokens, and of the grammar's sentences."""
    rng = random.Random(seed)
    kind = (_bytes, _tokens, _sentences)[seed % 3]
    return kind(rng)


@cache
def _texts() -> list[str]:
    return [path.read_text() for path in CORPUS]


@cache
def _statements() -> list[str]:
    """Statements of the corpus, with the comments and blocks that belong to them."""
    found = [part for text in _texts() for part in re.split(r"\n(?=[a-z])", text)]
    return [part for part in found if len(part) < 600]


GOOD = """site mid = resid_post[1] @ END
subspace v = random(resid_post[1] @ END, seed: 3)
param layer = 2
let half = norm(v) / 2
subspace u = mean_difference(resid_post[1] @ END, ABB, BAB, on: flip.train)
subspace d = das(resid_post[1] @ END, on: flip.train, epochs: 1, neurons: [1, 2, 3])
subspace w = project(v, onto: complement(span(v, v)))
subspace n = null(W_out[1], random(mlp_hidden[1] @ END))
measure m on flip.test { a = patch resid_post[1] @ END along v  b = ablate mlp_out[1] @ S2 to zero
  report fldd, logit_diff }
sweep s on flip.test { for l in layers, p in {S2, END-1}: patch resid_post[l] @ p  report fldd }
sweep h on flip.test { for h in {1.2, 2.0}: patch head[h].z @ END  report kl }
table t { for l in 0..3: a = l * 2 + 1  b = norm(v) }
histogram g on flip.test { clean = v at resid_post[1] @ END }
trace r = patch resid_post[1] @ END to logit_diff on flip.test { through heads, mlps[3]  top 3 }
path q = resid_post[1] @ END -> heads[2..3].q @ END -> logits { freeze all  layernorm recompute }
expect m.a.fldd < m.b.fldd and abs(t.a[2]) == 5
expect max(s.fldd) > s[1, S2].fldd - 1
plot s by l relative m.a.fldd as "x.svg"
render m
pairs two = jsonl("even.jsonl")
prompts c = corpus("texts.txt")
lexicon x = words(["Mary", "John", "Tom"]) split half""".replace("\n  ", " ").splitlines()
"""Statements that are right, in this order, behind the prompts of the world."""


def _excerpt(rng: random.Random) -> str:
    if rng.random() < 0.5:
        chosen = sorted([*rng.sample(range(len(GOOD)), rng.randint(1, 6)), 1, 8, 9, 11])
        return "\n".join(['import "prompts.cpatch"', *(GOOD[i] for i in dict.fromkeys(chosen))])
    return "\n".join(rng.choice(_statements()) for _ in range(rng.randint(1, 4))) + "\n"


def _bytes(rng: random.Random) -> str:
    """Bytes changed, cut out and put in; as text, however that reads."""
    data = bytearray(_excerpt(rng).encode())
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        how = rng.random()
        if how < 0.4:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.7:
            del data[at : at + rng.randint(1, 20)]
        else:
            data[at:at] = rng.choice(_ODD).encode(errors="surrogatepass")
    return data.decode(errors="replace")


def _tokens(rng: random.Random) -> str:
    """Tokens left out, doubled, exchanged and put in."""
    tokens = _TOKEN.findall(_excerpt(rng))
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(tokens))
        how = rng.random()
        if how < 0.3:
            tokens[at] = rng.choice(_ODD + _NAMES)
        elif how < 0.5:
            tokens.insert(at, rng.choice(_ODD + _NAMES))
        elif how < 0.7 and len(tokens) > 2:
            del tokens[at]
        elif how < 0.85:
            tokens.insert(at, tokens[rng.randrange(len(tokens))])
        else:
            other = rng.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return "".join(tokens)


@cache
def _rules() -> dict[str, list[list[Terminal | NonTerminal]]]:
    rules: dict[str, list[list[Terminal | NonTerminal]]] = defaultdict(list)
    for rule in parser().rules:
        rules[rule.origin.name].append(list(rule.expansion))
    return dict(rules)


@cache
def _least() -> dict[str, int]:
    """How deep a rule goes at least, so that every sentence comes to an end."""
    least = dict.fromkeys(_rules(), 10**6)
    for _ in range(len(least)):
        for name, expansions in _rules().items():
            depths = (
                1 + max((least.get(s.name, 0) for s in e if not s.is_term), default=0)
                for e in expansions
            )
            least[name] = min(least[name], *depths)
    return least


def _sentences(rng: random.Random) -> str:
    """Statements as the grammar makes them, about things that are there, or not."""
    statements = [_sentence(rng, "statement", 12) for _ in range(rng.randint(1, 5))]
    return 'import "prompts.cpatch"\n' * (rng.random() < 0.8) + "\n".join(statements) + "\n"


def _sentence(rng: random.Random, name: str, room: int) -> str:
    expansions = _rules()[name]

    def depth(expansion: list[Terminal | NonTerminal]) -> int:
        return 1 + max((_least()[s.name] for s in expansion if not s.is_term), default=0)

    fitting = [e for e in expansions if depth(e) <= room] or [min(expansions, key=depth)]
    chosen = rng.choice(fitting)
    parts = [_word(rng, s.name) if s.is_term else _sentence(rng, s.name, room - 1) for s in chosen]
    return " ".join(part for part in parts if part)


@cache
def _fixed() -> dict[str, str]:
    return {t.name: t.pattern.value for t in parser().terminals if t.pattern.type == "str"}


def _word(rng: random.Random, name: str) -> str:
    match name:
        case "NAME" | "DEFINES":
            return rng.choice(_NAMES).partition(".")[0]
        case "NUMBER":
            return rng.choice(["0", "1", "2", "3.1", "1.2", "0.5", "7", "1e3", "99999999999"])
        case "INDEX":
            return str(rng.randrange(5))
        case "STRING":
            return rng.choice(_TEXTS)
        case "PLACE":
            return rng.choice(["A.1", "B.2", "last", "X", "place+1", "A.9"])
        case "POINT":
            return rng.choice(["END", "S2", "IO", "all", "0", "END-1", "S2+99"])
        case "COMPARISON":
            return rng.choice(["<", ">", "<=", "==", "!="])
        case "PRODUCT_OPERATOR":
            return rng.choice("*/")
        case "ROLE":
            return rng.choice(["train", "test"])
        case "OPTION":
            return rng.choice(["train", "test", "seed"])
    if name in _fixed():
        return _fixed()[name]
    return {"SPLIT": "half"}.get(name, name.strip("_").lower())
