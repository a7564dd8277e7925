"""The pairs of docs/experiments/audit_agreement.cpatch, from a file that is not ours.

    python docs/make_agreement.py nounpp_test.json nounpp.jsonl

The file is data/nounpp_test.json of https://github.com/saprmarks/feature-circuits at 1d87366, JSON
lines. The clean prefix is the base. Classes are the number of the subject, which is the prompt's
second word. Pairs whose noun has more tokens in one number are left out: END is elsewhere there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from causaldsl.model.catalog import resolve
from causaldsl.model.tokens import Tokens

_OTHER = {"singular": "plural", "plural": "singular"}
_SIDES = {"base": "clean_prefix", "source": "patch_prefix"}


def pair(row: dict[str, str]) -> dict[str, object]:
    number = row["case"].partition("_")[0]
    return {
        **{side: row[field] for side, field in _SIDES.items()},
        "answer": row["clean_answer"],
        "foil": row["patch_answer"],
        "class": {"base": number, "source": _OTHER[number]},
        "positions": {"NOUN": {side: row[field].split()[1] for side, field in _SIDES.items()}},
    }


def main() -> None:
    origin, made = map(Path, sys.argv[1:])
    tokens = Tokens.load(resolve("smollm2-135m", Path()).path)
    rows = [json.loads(line) for line in origin.read_text("utf-8").splitlines()]
    alike = [r for r in rows if len({len(tokens.encode(r[f])) for f in _SIDES.values()}) == 1]
    made.write_text("".join(json.dumps(pair(row)) + "\n" for row in alike), "utf-8")
    print(f"{len(alike)} of {len(rows)} pairs")


if __name__ == "__main__":
    main()
