"""Are the words of the experiments single tokens, in other models' tokenizers?

    python docs/check_tokenizers.py NAME=FILE...

FILE is a `tokenizer.json`, or a list of tokens with ranks as tiktoken has it. Writes
docs/experiments/measured/tokenizers.json, from which docs/make_experiments.py fills in the page on
other models. A word of a lexicon must be one token after a space to be an answer.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/experiments/measured/tokenizers.json"
LEXICONS = sorted((ROOT / "programs/lexicons").glob("*.txt"))


def main() -> None:
    found = {}
    for argument in sys.argv[1:]:
        name, _, file = argument.partition("=")
        found[name] = checked(is_one_token(Path(file)))
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


def checked(one: Callable[[str], bool]) -> dict[str, Any]:
    """For each lexicon and the words of the templates: how many, and which are several tokens."""
    words = {path.stem: path.read_text("utf-8").split() for path in LEXICONS}
    templates = re.findall(r'(?:train|test) +"(.*)"', (ROOT / "programs/ioi.cpatch").read_text())
    plain = {w for t in templates for w in re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", t))}
    words["templates"] = sorted(plain)
    return {
        name: {"words": len(some), "several": [w for w in some if not one(f" {w}")]}
        for name, some in words.items()
    }


def is_one_token(path: Path) -> Callable[[str], bool]:
    """Whether a text is one token, by the tokenizer in this file."""
    if path.suffix == ".json":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids) == 1
    lines = path.read_text("utf-8").split("\n")
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines if line}
    return lambda text: _merged(text.encode(), ranks) == 1


def _merged(text: bytes, ranks: dict[bytes, int]) -> int:
    """Into how many tokens byte-pair encoding makes one word, which no pattern splits before."""
    parts = [text[i : i + 1] for i in range(len(text))]
    while len(parts) > 1:
        rank, i = min((ranks.get(a + b, 1 << 30), i) for i, (a, b) in enumerate(pairwise(parts)))
        if rank == 1 << 30:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return len(parts)


if __name__ == "__main__":
    main()
