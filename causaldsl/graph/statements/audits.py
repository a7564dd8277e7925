"""`audit`: its runs, the subspaces that they use, and the verdict over them."""

from __future__ import annotations

from causaldsl.check.measurements import CheckedAudit
from causaldsl.graph.compiler import Compiler, compiles, site_at
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import ARM, Input
from causaldsl.vocabulary.base import SIDES


@compiles(CheckedAudit)
def audit(compiler: Compiler, audit: CheckedAudit) -> Made:
    """The operation that states the verdict, after all that it rests on."""
    inputs = [Input(role=side, key=compiler.clean_run(audit.pairs, side)) for side in SIDES]
    inputs.append(Input(role="of", key=compiler.applied(audit.of)))
    if audit.against is not None:
        inputs.append(Input(role="against", key=compiler.applied(audit.against)))
    inputs += [Input(role=role, key=compiler.applied(part)) for role, part in audit.parts]
    runs = compiler.runs(audit.runs, audit.pairs)
    inputs += [Input(role=ARM + name, key=key) for name, key in runs.items()]
    key = compiler.add(audit.word, inputs, audit.span, at=site_at(audit.place))
    return Made("audit", key, runs)
