"""`causaldsl verify RUN`: does a run give the same numbers again?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, tell
from causaldsl.commands.progress import bars


def add(commands: Commands) -> None:
    verify = commands.add_parser(
        "verify",
        help="run a run again from its own folder, and compare",
        epilog="Exit code: 0 the same, 1 not the same, 2 it can't be read, 3 it can't be run.",
    )
    verify.add_argument("run", type=Path, help="a run's folder")
    verify.add_argument("--model", help="where the run's model is now, if it was a local one")
    verify.add_argument(
        "--exact", action="store_true", help="allow no rounding, wherever it was run"
    )
    verify.add_argument("--json", action="store_true", help="print what was found as JSON")
    verify.set_defaults(command=_verify)


def _verify(options: argparse.Namespace) -> int:
    from causaldsl.studies.verify import verify

    with bars() as progress:
        found = verify(options.run, options.model, progress, options.exact)
    if options.json:
        tell(json.dumps({"same": found.same, **asdict(found)}, indent=1))
        return 0 if found.same else 1
    for line in found.elsewhere:
        complain(f"note: {line}")
    for line in found.wrong:
        tell(line)
    how = "to the last digit" if found.largest == 0 else f"within {found.largest:.1e}"
    if found.allowed:
        tell(
            f"compared within rounding ({found.allowed:g}), for results.json says that it was made "
            f"elsewhere ({'; '.join(found.elsewhere)}); --exact allows none"
        )
    if found.same:
        tell(f"{options.run} gives the same again: {found.compared} numbers, {how}")
    else:
        tell(f"{options.run} does NOT give the same again")
    return 0 if found.same else 1
