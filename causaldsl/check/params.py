"""`--set NAME=VALUE`: the settings that a program's params take."""

from __future__ import annotations

from collections.abc import Mapping

from causaldsl.diagnostics import Mistake, suggest

MODEL = "model"
"""What `--set` calls the model, whatever the program calls it."""


def check_all_used(settings: Mapping[str, str], params: Mapping[str, object]) -> None:
    """Raise a :class:`Mistake` for a setting that no param of the program takes."""
    for name in settings:
        if name != MODEL and name not in params:
            raise Mistake(
                "unknown-param",
                f"the program has no param `{name}`",
                suggest(name, [*params, MODEL], "params"),
            )
