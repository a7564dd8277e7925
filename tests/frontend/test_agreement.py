"""A position is looked for once in the same pairs, and anew where more is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.places import PositionRef
from causaldsl.check.program import Checker
from causaldsl.diagnostics import ProgramError, Source

PAIRS = 'model lm = "tiny-llama"\npairs p = jsonl("uneven.jsonl")\n'
BASES = "a = ablate resid_post[1] @ all to zero"
SOURCES = "b = patch resid_post[1] @ all"


def check(arms: str, world: Path, pairs: str = PAIRS) -> CheckedProgram:
    text = f"{pairs}measure m on p {{ {arms}  report logit_diff }}\n"
    return Checker(Source("case.cpatch", text), world / "case.cpatch").check()


@pytest.mark.parametrize("arms", [f"{BASES}  {SOURCES}", f"{SOURCES}  {BASES}"])
def test_what_bases_have_is_compared_with_the_sources_all_the_same(arms: str, world: Path) -> None:
    check(BASES, world)
    with pytest.raises(ProgramError) as error:
        check(arms, world)
    (found,) = error.value.diagnostics
    assert found.code == "unequal-length"


def test_prompts_are_gone_through_once_for_a_position(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, plain = [], PositionRef.resolve

    def resolve(self: PositionRef, prompt: object) -> list[int]:
        times.append(str(self))
        return plain(self, prompt)  # type: ignore[arg-type]

    monkeypatch.setattr(PositionRef, "resolve", resolve)
    counts = []
    for many in (1, 9):
        lets = "".join(
            f"let a{n} = norm(pca(resid_post[{n % 3}] @ S2, on: flip.train, dim: 1))\n"
            for n in range(many)
        )
        times.clear()
        text = f'import "prompts.cpatch"\n{lets}'
        Checker(Source("case.cpatch", text), world / "case.cpatch").check()
        counts.append(times.count("S2"))
    assert counts[0] == counts[1] > 0
