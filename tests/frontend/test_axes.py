"""What pictures call the loop variables of a sweep or table: by what their values are."""

from pathlib import Path

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from tests.frontend.world import PRELUDE

LOOPS = """
param first = 1
set few = {2.1, 2.3}
sweep a on flip.test {
  for l in {first, first + 2}, p in {S2, END}, h in few:
    patch resid_post[l] @ p + patch head[h].z @ END
  report kl
}
sweep b on flip.test {
  for t in positions, l in layers, n in 0..1: patch head[l.n].z @ t
  report kl
}
table c { for k in 0..1, z in {2, 3}: x = norm(random(resid_mid[k] @ END, seed: z))  y = z }
table d { for k in 2..3: x = c.y[0, k] + k }
"""


def test_axes_name_what_their_values_are(world: Path) -> None:
    source = Source("case.cpatch", PRELUDE + LOOPS)
    checked = Checker(source, world / "case.cpatch").check()
    statements = {**checked.measurements, **checked.tables}
    found = {name: {axis.name: axis.quantity for axis in statements[name].axes} for name in "abcd"}
    assert found == {
        "a": {"l": "layer", "p": "position", "h": "head"},
        "b": {"t": "token", "l": "layer", "n": "head"},
        "c": {"k": "layer", "z": "seed"},
        "d": {"k": ""},
    }
    assert checked.measurements["a"].axes[0].labels == ("1", "3")
