"""`run`: a name for a changed run of the bases."""

from __future__ import annotations

from causaldsl.check.context import Context, checks
from causaldsl.check.in_force import joined, parts_of, what_it_does
from causaldsl.check.runs import CheckedRun
from causaldsl.check.values import CheckedPath
from causaldsl.diagnostics import wrong
from causaldsl.syntax import ast


@checks(ast.Run)
def run(context: Context, node: ast.Run) -> CheckedRun:
    if node.base.text != "base":
        message = f"a run starts from the bases, not from `{node.base.text}`"
        raise wrong("wrong-kind", message, node.base.span, "write `base with ..`")
    does = joined(parts_of(context, node.interventions))
    if any(isinstance(one, CheckedPath) and one.direct for one in does.does):
        raise wrong(
            "direct-joined",
            "a path straight to the logits has no activations of its own",
            node.interventions.span,
            "end it at what it changes, such as a receiver",
        )
    text = what_it_does(context, node.interventions)
    return CheckedRun(node.name.text, does, text, node.span)
