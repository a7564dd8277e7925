"""How long the language server takes to answer a keystroke in a program of some 300 lines.

    python benchmarks/keystrokes.py [--keystrokes 40] [--lines 300]

The program imports the pairs of programs/ioi.cpatch and asks its questions again and again under
other names. A keystroke is a change of one character in a statement of it; the answer is what the
server then says is wrong. A completion is asked for where the change was. Places are spread over
the text: what stands above the change, and what depends on it, differ. Times are in milliseconds
and go into keystrokes.json. `processor` is the server's own for one keystroke (and half a
completion), on which other programs of the machine have little influence; `load` is how many ran.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from common import machine, stamp  # noqa: E402

from tests.frontend.editor.client import Client  # noqa: E402

RESULTS = Path(__file__).parent / "keystrokes.json"
PART = """
# Part {n}: where the direction acts.
site mlp_{n} = mlp_hidden[{layer}] @ END
subspace v_{n} = das(mlp_{n}, on: flip.train, epochs: 3, lr: 0.02, seed: {n})
subspace u_{n} = mean_difference(mlp_{n}, ABB, BAB, on: flip.train)
let alike_{n} = abs(cos(v_{n}, u_{n}))
measure effects_{n} on flip.test {{
  whole = patch mlp_{n}
  along_v = patch mlp_{n} along v_{n}
  along_u = patch mlp_{n} along u_{n}
  zeroed = ablate mlp_{n} to zero
  both = patch mlp_{n} along v_{n} + patch head[{layer}.0].z @ END
  report logit_diff, fldd
}}
sweep places_{n} on flip.test {{
  for l in {layer}..{last}, p in {{IO, S2, END}}:
    patch resid_post[l] @ p
  report fldd
}}
expect effects_{n}.along_v.fldd < effects_{n}.whole.fldd + {n}
expect alike_{n} < 1
plot places_{n}
"""


def program(lines: int) -> str:
    """A program with at least this many lines, every part with other names and layers."""
    text, n = 'import "ioi.cpatch"\n', 0
    while text.count("\n") < lines:
        text += PART.format(n=n, layer=12 + n % 15, last=14 + n % 15)
        n += 1
    return text


def main() -> None:
    options = _options()
    text = program(options.lines)
    path = ROOT / "programs" / "keystrokes_benchmark.cpatch"  # nothing is written there
    client = Client(ROOT)
    first = _timed(lambda: _said(client, path, text, {"positions-apart"}))
    used = _processor(client)
    draw = random.Random(0)
    checks, completions = [], []
    for _ in range(options.keystrokes):
        at = draw.choice([i for i, char in enumerate(text) if char.isdigit() or char == "v"])
        for changed in (text[:at] + "7" + text[at + 1 :], text):
            checks.append(_timed(partial(_said, client, path, changed)))
        completions.append(_timed(partial(_completed, client, path, text, at)))
    used = _processor(client) - used
    client.end()
    found = {
        "lines": text.count("\n"),
        "first_check": round(first, 2),
        "keystroke": _summary(checks),
        "completion": _summary(completions),
        "processor": round(1000 * used / len(checks), 1),
    }
    found |= {"load": round(os.getloadavg()[0], 1), "machine": machine()} | stamp("keystrokes.py")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _said(client: Client, path: Path, text: str, codes: set[str] | None = None) -> None:
    """Wait until the server has said what is wrong with just this text, or that it is these."""
    client.write(path, text)
    if codes is not None:
        client.found(path, codes)
        return
    uri = path.as_uri()
    client.said.pop(uri, None)
    while client.said.get(uri, {}).get("version") != client.versions[uri]:
        client.listen()


def _processor(client: Client) -> float:
    """Seconds that the server has had of a processor: other programs don't count."""
    fields = Path(f"/proc/{client.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _completed(client: Client, path: Path, text: str, at: int) -> None:
    line = text.count("\n", 0, at)
    place = {"line": line, "character": at - text.rfind("\n", 0, at) - 1}
    about = {"uri": path.as_uri()}
    client.ask("textDocument/completion", textDocument=about, position=place)


def _timed(action: Any) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _summary(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    shown = sorted(1000 * one for one in seconds)
    return {
        "median": round(statistics.median(shown), 1),
        "p95": round(shown[int(0.95 * (len(shown) - 1))], 1),
        "largest": round(shown[-1], 1),
        "n": len(shown),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times of the language server.")
    parser.add_argument("--keystrokes", type=int, default=40)
    parser.add_argument("--lines", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
