"""Prompts that begin alike give what each gives without the others, in every family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import Mistake
from causaldsl.engine.backend import Activations, CleanPass, Pass, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.recorder import ConeRun
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.exact import exact
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan import prefixes
from causaldsl.plan.freeze import Freeze
from causaldsl.vocabulary.sites import SITES
from tests.families.models import FAMILIES, ON_HOOKS, family_folder

LENGTHS = torch.tensor([14, 9, 14, 5, 12, 9, 13, 2])
PLACES = torch.stack((torch.tensor([2] * 7 + [0]), LENGTHS // 2, LENGTHS - 1), 1)
"""In what most share, in the middle, at the end."""
HOLDS = [None, Freeze(attention=True, norms=True), Freeze(mlp=True)]


def prompts() -> Tensor:
    """Eight tokens in front of most; one prompt twice, one the beginning of another, one alone."""
    generator = torch.Generator().manual_seed(3)
    made = torch.randint(2, 60, (8, 14), generator=generator)
    made[:5, :8] = made[0, :8]
    made[2, :11] = made[0, :11]
    made[5] = made[1]
    made[7, 0] = made[6, 0]
    return made


def distinct_beginnings(tokens: Tensor) -> int:
    rows = zip(tokens.tolist(), LENGTHS.tolist(), strict=True)
    return len({tuple(row[:end]) for row, length in rows for end in range(1, length + 1)})


def sites(cone: ConeBackend, shapes: ModelDims) -> Iterator[Site]:
    """Those that the model has, of two layers."""
    for word in SITES.values():
        for layer in [None] if word.index == "none" else (0, 2):
            site = Site(word.word, layer, {"head": 1, "kv_head": 0}.get(word.index))
            with suppress(Mistake):
                site.check(shapes)
                if word.tap and (word.word == "logits" or cone.serves(site)):
                    yield site


def made_by(cone: ConeBackend, tokens: Tensor, shapes: ModelDims) -> list[Tensor]:
    """Everything that can be had of a clean run, and runs that start from it."""
    reads = [Read(site, PLACES) for site in sites(cone, shapes)]
    stream, late = Read(Site("resid_pre", 1), PLACES[:, :1]), Read(Site("resid_post", 2), PLACES)
    at = [stream, late, Read(Site("head.z", 2, 1), PLACES[:, 1:2])]
    run: ConeRun = cone.clean(CleanPass(tokens, reads, at, LENGTHS, frozen=True))
    found = [run.read(read) for read in reads]
    generator = torch.Generator().manual_seed(4)
    arms = []
    for read in at:
        size = (*read.positions.shape, read.site.width(shapes) or 0)
        value = torch.randn(size, generator=generator, dtype=torch.float64)
        arms.append([Edit(read.site, read.positions, value)])
    for hold in HOLDS:
        found += [logits_of(cone, run, arm, hold=hold) for arm in [[], *arms]]
    found += cone.run(Pass(run, arms[:1], Activations([late])))
    return found


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ON_HOOKS])
def test_shared_and_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = family_folder(tmp_path, name)
    loaded, tokens = load(resolve(str(folder), tmp_path), dtype="float64"), prompts()
    shapes = loaded.spec.shapes
    cone = ConeBackend(loaded.hf, shapes)
    monkeypatch.setattr(prefixes, "LEAST_SAVED", 1.1)
    wanted = made_by(cone, tokens, shapes)
    monkeypatch.undo()
    cone.most = 0
    cone.clean(CleanPass(tokens, lengths=LENGTHS))
    assert cone.most == distinct_beginnings(tokens) < 0.75 * int(LENGTHS.sum())
    for cone.at_once in (1024, 25, 10) if name == "llama" else (1024,):
        found = made_by(cone, tokens, shapes)
        assert max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) < 1e-9
    row = 2
    with torch.no_grad(), exact(torch.float64):
        logits = loaded.hf(tokens[row : row + 1, : LENGTHS[row]]).logits[0, -1]
    plain = wanted[len(list(sites(cone, shapes)))]
    assert (plain[row] - logits).abs().max() < 1e-9


def test_parts_cover_every_beginning_once() -> None:
    tokens = prompts().tolist()
    rows = [tuple(row[:length]) for row, length in zip(tokens, LENGTHS.tolist(), strict=True)]
    for at_once in (1000, 25, 14):
        parts = prefixes.shared_parts(rows, at_once)
        assert parts is not None
        assert sorted(row for part in parts for row in part.rows) == list(range(8))
        for part in parts:
            mine = [rows[row] for row in part.rows]
            beginnings = {row[:end] for row in mine for end in range(1, len(row) + 1)}
            assert part.positions == len(beginnings) <= at_once
            windows = list(part.windows())
            assert sorted(i for places in windows for i in places) == [
                i for i, own in enumerate(part.own) if own
            ]
