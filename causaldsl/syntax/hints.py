"""What is likely meant where a statement stops: said in place of all that could stand there."""

from __future__ import annotations

import re

_VERBS = "patch|ablate|steer|cut"
_SETS = f"only|without|{_VERBS}"
_BLOCKS = "measure|sweep|table|histogram|trace|prompts"
_COMMENT = "a comment begins with #"
_POWER = "there are no powers: write a * a"
_NO_OR = "there is no `or` in a claim: claim the side that you predict"
_COLON = "a colon stands before what is done: for l in layers: patch SITE"

_HINTS = (
    (
        r"pairs\s+\w+\s*=\s*(\w+)\s*",
        r"(\{[^}\n]*\}?)",
        "write a letter for each slot of base and source, equal ones for equal words: "
        "{} ABB <-> BAB {}",
    ),
    (r"position\s[^}]*?(\w+)\s*=\s*(\w+)", r"\.", "a column has no place of its own: {} = {}"),
    (r"answer\s+", r"\{", "without braces: answer X.capital"),
    # Texts, numbers and comments
    (r"@\s*", r"[\"'\[]\s*([A-Z]\w*)", "write the position alone: @ {}"),
    (r"@\s*", r"-\s*\d", "END is the last token, END-1 the one before it"),
    (r"", r"'([^'\n]*)'", 'a text stands in double quotes: "{}"'),
    (r"", r";", "a statement ends by itself: take it out"),
    (r"", r"//|/\*", _COMMENT),
    (r"\*\s*", r"\*", _POWER),
    (r"", r"\^", _POWER),
    (r"", r"%", "write a share as a number: 3% is 0.03"),
    (r"\d\.\.", r"\.", "a range has two dots: 0..3"),
    (r"(?:^|[^\w.])", r"(\.\d+)", "write 0{}"),
    (r"(\d)", r"_(\d+)", "write a number without _: {}{}"),
    (r"\[\s*", r":", "a site has its position behind `@`: resid_post[3] @ END"),
    # Names and options
    (r"", r"model\.\w", "sites have names of their own: resid_post[3], mlp_out[3], attn_out[3]"),
    (r"model\s+\w+\s*=\s*(\w+)\s*", r"([-/.][-\w/.]*)", 'write it in quotes: "{}{}"'),
    (r"model\s+(\w+)\s+", r"[\"']([^\"'\n]+)[\"']", 'write it with =: model {} = "{}"'),
    (r"model\s+", r"[\"']([^\"'\n]+)[\"']", 'give it a name, too: model lm = "{}"'),
    (r"model\s+\w+", r"[-/.]", 'give it a name, too: model lm = "gpt2"'),
    (
        rf"^\s*(model|lexicon|pairs|site|set|subspace|let|param|{_BLOCKS})\s*",
        r"=",
        "it needs a name: {} NAME = ..",
    ),
    (r"^\s*(\w+)\s+(\w+)\s*", r":\s", "write {} {} = .."),
    (
        r"^\s*expect\s+([^\n=<>]*?)\s*",
        r"=(?!=)\s*(-?[\d.]+)",
        "compare by <, <=, > or >=; near a number: abs({} - {}) < 0.05",
    ),
    (r"^\s*expect\b[^\n]*", r"=(?!=)", "compare by <, <=, > or >="),
    (r"[(,]\s*(\w+)\s*", r"=(?!=)", "an option has a colon: {}: .."),
    (r"import\s+", r"\w", 'a file\'s name stands in quotes: import "ioi.cpatch"'),
    (
        rf"\b({_SETS})\s+([\w.]+)\s*",
        r"except\s+(\{[^}\n]*\}|[\w.]+)",
        "a set that is less another stands in braces: {} {{{} except {}}}",
    ),
    # Claims
    (r"", r"&&?", "join claims by `and`"),
    (
        r"^\s*expect\s+([^\n=<>]*?)\s*[<>]=?[^\n]*",
        r"\|\|?|or\b",
        _NO_OR + "; or, outside of 0 to 1: abs({} - 0.5) > 0.5 (the middle, and half the width)",
    ),
    (r"", r"\|\|?|or\b", _NO_OR),
    (r"[<>]=?[^<>\n]*", r"[<>]", "compare two at a time: a < b and b < c"),
    (r"expect\s+not\s+", r".", "claim the opposite: `>` instead of not `<`"),
    # Blocks
    (
        r"(?:measure|sweep)\s+\w+\s*",
        r"\{",
        "say which pairs it is measured on: on flip.test {{ .. }}",
    ),
    (
        rf"(?:{_BLOCKS})\s+\w+(?:\s+on\s+[\w.]+)?\s*",
        r":",
        "what belongs to it stands in braces {{ }}",
    ),
    (r"\bin\s+(\d+):(\d+)\s*", r":", "write the range with two dots: {}..{}"),
    (r"\bfor\s+\w+\s+in\s[^:{]*", rf"\{{|(?:{_VERBS})\b", _COLON),
    (
        r"measure\s[^{]*\{\s*",
        r"report\b",
        "first an arm, which says what is done: whole = patch SITE",
    ),
    (r"measure\s[^{]*\{[^}]*", rf"({_VERBS})\b", "give it a name: whole = {} .."),
    (r"measure\s[^{]*\{[^}]*", r"(\w+)\s*:", "write {} = .."),
    (
        r"ablate\s[^\n]*\s(zero|mean|noise|resample)\s+report\b[^}]*",
        r"\}",
        "write `to {}` behind the site",
    ),
    (r"(?:measure|sweep)\s[^{]*\{[^}]*\breport\b[\w\s,]*", r"(\w+)", "put a comma before `{}`"),
    (
        r"(?:measure|sweep)\s[^{]*\{(?:(?!\breport\b)[^}])*",
        r"\}",
        "say what is measured: report fldd",
    ),
    (r"[\])]\s*", r"(?:,|at\b)\s*([A-Z]\w*)", "a position stands behind `@`: write @ {}"),
    # Pictures
    (r"plot\s+\w+\s*", r"\.", "it draws all of a statement: give its name alone"),
    (r"(plot|render)\s+", r"\"", "say first what is drawn: {} NAME as .."),
    (r"\bas\s+", r"([\w.]+)", 'write it in quotes: as "{}"'),
)
"""What stands before the place, what stands there, and what to write; names are filled in."""

_SITE = r"head|kv_head|resid_|mlp_|attn_|embed"
_STATEMENTS = (
    (rf"(\w+)\s*:?=\s*(?:{_SITE})", "give it its kind: site {} = .."),
    (r"(\w+)\s*(?::=|=|:)\s*\"", "give it its kind, such as model {0} = .., or param {0} = .."),
    (r"(\w+)\s*(?::=|=|:)", "give it its kind: let {0} = .., or param {0} = .. for `--set`"),
    (r"(?:const|var|val|int|float|define)\s+(\w+)", "write let {} = .."),
    (
        r"(?:def|class|fn|function|lambda)\b",
        'there are no functions; a package brings words: use "NAME"',
    ),
    (
        r"(?:for|while)\b",
        "a loop stands in `sweep NAME on PAIRS {{ for l in layers: .. report fldd }}`",
    ),
    (r"(?:if|else|elif)\b", "there are no branches: `expect` says what should hold"),
    (r"(?:assert|claim|check|require)\b", "write expect .."),
    (
        r"(?:print|show|display|log)\b",
        "a run shows all that is measured: `let NAME = ..` adds a number",
    ),
    (r"from\b", 'import "FILE.cpatch" brings definitions, use "NAME" a package\'s words'),
    (
        rf"({_VERBS})\b",
        "an intervention is an arm: measure NAME on PAIRS {{ a = {} ..  report fldd }}",
    ),
    (r"report\b", "it stands at the end of a measure or sweep, inside its braces"),
    (r"(train|test|slots|answer|position)\b", "`{}` stands inside the braces of prompts"),
)
"""What a line begins with that is no statement, and what to write."""

_BRACKET = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|([\[({])|([\])}])')


def hint(before: str, here: str) -> str | None:
    """What to write where the text ``here`` can't follow ``before``, the statement so far.

    >>> hint("let a = 2 *", "* 3")
    'there are no powers: write a * a'
    """
    for pattern, follows, help in _HINTS:
        found = re.search(rf"(?:{pattern})\Z", before, re.M)
        next_ = re.match(follows, here)
        if found is not None and next_ is not None:
            return help.format(*found.groups(), *next_.groups())
    return None


def statement_hint(line: str) -> str | None:
    """What to write for a line that begins with no statement.

    >>> statement_hint("layer = 3")
    'give it its kind: let layer = .., or param layer = .. for `--set`'
    """
    for pattern, help in _STATEMENTS:
        if found := re.match(pattern, line):
            return help.format(*found.groups())
    return None


def unclosed(text: str) -> int | None:
    """Where the last bracket stands that a text opens and does not close.

    >>> unclosed("measure m { a = f(x) "), unclosed("f(x)")
    (10, None)
    """
    left: list[int] = []
    for found in _BRACKET.finditer(text):
        if found[1]:
            left.append(found.start())
        elif found[2] and left:
            left.pop()
    return left[-1] if left else None
