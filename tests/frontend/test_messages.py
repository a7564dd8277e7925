"""Wrong or doubtful programs and what is said of them: messages with their exact line and column.

Each file of `messages/` holds cases: a heading, a program, and the messages that it must give. The
prelude of `world.py` stands before a program that begins with `...`, so its line 1 is line 1 of the
case. To write the expected texts anew after a wanted change: `UPDATE=1 pytest tests/frontend`.
"""

import os
import re
from pathlib import Path

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source, render_all
from causaldsl.vocabulary.warnings import WARNINGS
from tests.frontend.world import PRELUDE, sections

FOLDER = Path(__file__).parent / "messages"


def cases() -> list[tuple[str, str, str, Path]]:
    found = []
    for path in sorted(FOLDER.glob("*.md")):
        for part in re.split(r"^## ", path.read_text(), flags=re.M)[1:]:
            program, expected = sections(part, "cpatch")[0], sections(part, "text")
            title = part.splitlines()[0]
            found.append((title, program, expected[0] if expected else "", path))
    return found


def messages(program: str, world: Path) -> str:
    """All messages of a program; line numbers count from the first line after the prelude."""
    shift = 0
    if program.startswith("..."):
        program = PRELUDE + program.removeprefix("...\n")
        shift = PRELUDE.count("\n")
    try:
        found = Checker(Source("case.cpatch", program), world / "case.cpatch").check().warnings
    except ProgramError as error:
        found = list(error.diagnostics)
    text = render_all(found) or "no message"
    return _shifted(text, shift).replace(str(world), "FOLDER") + "\n"


def _shifted(text: str, shift: int) -> str:
    def place(match: re.Match[str]) -> str:
        return f"case.cpatch:{int(match[1]) - shift}:{match[2]}"

    text = re.sub(r"case\.cpatch:(\d+):(\d+)", place, text)
    return re.sub(r"^ (\d+) \|", lambda m: f" {int(m[1]) - shift} |", text, flags=re.M)


@pytest.mark.parametrize(
    ("title", "program", "expected", "path"), cases(), ids=lambda v: str(v)[:40]
)
def test_message(title: str, program: str, expected: str, path: Path, world: Path) -> None:
    found = messages(program, world)
    if os.environ.get("UPDATE") and found != expected:
        text = path.read_text()
        head, _, tail = text.partition(f"## {title}\n")
        old = re.split(r"^## ", tail, flags=re.M)[0]
        new = re.sub(r"\n```text\n.*?^```\n", "", old, flags=re.M | re.S).rstrip("\n")
        new += f"\n\n```text\n{found}```\n\n"
        path.write_text(f"{head}## {title}\n" + tail.replace(old, new, 1))
        return
    assert found == expected


def test_every_warning_has_a_case() -> None:
    shown = "".join(expected for _, _, expected, _ in cases())
    assert set(re.findall(r"^warning\[([a-z-]+)\]", shown, flags=re.M)) == WARNINGS.keys()


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 30
    assert len({title for title, *_ in cases()}) == len(cases())
