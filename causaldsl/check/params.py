"""`--set NAME=VALUE`: the settings that a program's params take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from causaldsl.diagnostics import Mistake, suggest

MODEL = "model"
"""What `--set` calls the model, whatever the program calls it."""


def read_settings(written: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, as given on the command line, by name. Raises :class:`Mistake`."""
    settings: dict[str, str] = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier() or not value.strip():
            raise Mistake("bad-setting", f"`--set {text}` sets nothing", "write --set NAME=VALUE")
        if name.strip() in settings:
            raise Mistake("option-twice", f"`{name.strip()}` is set twice", "set it once")
        settings[name.strip()] = value.strip()
    return settings


def check_all_used(settings: Mapping[str, str], params: Mapping[str, object]) -> None:
    """Raise a :class:`Mistake` for a setting that no param of the program takes."""
    for name in settings:
        if name != MODEL and name not in params:
            raise Mistake(
                "unknown-param",
                f"the program has no param `{name}`",
                suggest(name, [*params, MODEL], "params"),
            )
