"""No site of the language is left out of what is tested in every family."""

from types import SimpleNamespace
from typing import Any

from causaldsl.vocabulary.sites import SITE_WORDS
from tests.families.matrix import sites
from tests.families.oracle import ORDER
from tests.families.words import kinds_of_sites

PATTERN = "head.pattern"
"""As wide as a prompt, so that it is tested apart: tests/engine/test_attention.py."""


def model(kv_heads: int) -> Any:
    parts = SimpleNamespace(middle="norm", down="matrix")
    return SimpleNamespace(heads=4, kv_heads=kv_heads, parts=parts)


def test_the_oracle_has_every_site_in_the_order_of_the_table() -> None:
    wanted = [kind for kind in kinds_of_sites() if kind != "pattern"]
    assert wanted == ORDER, "a new site needs its place in tests/families/oracle.py, ORDER"


def test_the_matrix_has_every_site() -> None:
    found = {at.kind for kv_heads in (4, 2) for at in sites(model(kv_heads))}
    missing = SITE_WORDS.keys() - found - {PATTERN}
    assert not missing, f"tests/families/matrix.py, sites(), has no {sorted(missing)}"
