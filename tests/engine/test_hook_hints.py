"""What a message says to write for a hook is what TransformerLens has at that hook."""

import re
from pathlib import Path

import pytest

from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.vocabulary.foreign import site_meant
from causaldsl.vocabulary.sites import SITES
from tests.tiny import FAMILIES, Family, tiny_folder

SEEN_BY_A_NORM = {"ln1.hook_in": "resid_pre", "ln2.hook_in": "resid_mid"}
"""Hooks where the stream is seen behind the skip connection: the hint is the stream itself."""
PER_HEAD = {"attn.hook_result": "head.out"}
"""Hooks that only TransformerLens can be asked to fill."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hint_is_for_the_same_hook_point(family: Family, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, family)
    hooks = load(resolve(str(folder), tmp_path), dtype="float32").bridge.hook_dict
    named = 0
    for name, point in hooks.items():
        hint = site_meant(name)
        assert hint is not None, name
        rest = re.sub(r"^blocks\.\d+\.", "", name)
        if hint == f'hook("{name}")':
            continue
        named += 1
        kind = re.sub(r"\[[^\]]*\]", "", hint)
        if (SEEN_BY_A_NORM | PER_HEAD).get(rest) == kind:
            continue
        layer = re.search(r"\[(\d+)", hint)
        hook = SITES[kind].hook.format(layer=layer and layer[1])
        assert hooks[hook] is point, f"{name}: {hint}"
    assert named > 10
