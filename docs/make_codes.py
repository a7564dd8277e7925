"""Writes docs/codes.md from the table of codes. Run it after changing one.

python docs/make_codes.py
"""

from __future__ import annotations

from pathlib import Path

from causaldsl.codes import NO_FILES, PRELUDE, TOPICS, Code, codes, title

_HEAD = f"""# Messages by their codes

For a message that you don't understand: each by its code, with a wrong and a right program. To
learn the language read [tutorial.md](tutorial.md). Made from `causaldsl/codes/` by
`docs/make_codes.py`.

Every message of `check` has a code in brackets, `error[layer-range]: tiny-llama has no layer 4`;
`--json` and the language server have it as `code`. `causaldsl explain CODE` prints its entry,
`causaldsl explain` all codes. A program with the lines that begin with `-` gives exactly this
code, with the lines that begin with `+` none; the tests run both. Some are commands, or lines of
Python after `import causaldsl as cd`. An example without a model
stands behind `{PRELUDE.strip()}`, which defines the model `tiny-llama` (4 layers of
4 heads), the lexicons `name` and `place`, the prompts `ioi` with positions `IO` and `S2`, and
the pairs `flip`. An installed package `my_lab_words` brings the words `double` and `my_csv`.
"""


def page() -> str:
    """The page of all codes."""
    parts = [_HEAD]
    for topic in TOPICS:
        parts.append(f"## {title(topic)}\n")
        parts += [_entry(code) for code in codes().values() if code.topic == topic]
    return "\n".join(parts)


def _entry(code: Code) -> str:
    kind = f" A warning: `allow {code.name}` turns it off." if code.warning else ""
    lines = [f"### `{code.name}`", "", code.meaning + kind, ""]
    for example in code.examples:
        if example.of not in NO_FILES:
            lines += [f"File `{example.of}`:", ""]
        lines += ["```diff", *example.lines, "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    path = Path(__file__).parent / "codes.md"
    path.write_text(page(), encoding="utf-8")
