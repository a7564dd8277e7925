"""The chat template of a model: what stands before and behind a user's message.

A prompt is the one message of a user, and the model's answer begins behind it. The template is that
of the model's folder, rendered by jinja2 in the sandbox that transformers uses too. It gets no
clock, so that the same prompts give the same tokens on any day.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from causaldsl.diagnostics import Mistake
from causaldsl.model.tokenizer_files import SETTINGS, read_json, token_texts
from causaldsl.shown import one_line

TEMPLATE = "chat_template.jinja"
_PLACE = "\u2063a prompt\u2063"
"""Stands for the prompt while the template is split around it."""


class Frame:
    """What a chat template puts around a prompt: ``before`` and ``behind``."""

    def __init__(self, template: str, special: Mapping[str, str]):
        """``special`` are the texts of special tokens, by names such as `bos_token`.

        Raises:
            Mistake: if it can't be rendered, or does not show a user's message once.
        """
        self._template, self._special = template, special
        parts = self._rendered(_PLACE).split(_PLACE)
        if len(parts) != 2:
            raise _unusable(f"shows a user's message {len(parts) - 1} times")
        self.before, self.behind = parts

    @classmethod
    def of_folder(cls, folder: Path) -> Frame:
        """That of a model's folder. Raises :class:`Mistake` if it has none."""
        settings = read_json(folder / SETTINGS)
        try:
            template = (folder / TEMPLATE).read_text(encoding="utf-8")
        except FileNotFoundError:
            template = _default(settings.get("chat_template"))
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(f"can't be read: {error}") from None
        if not template:
            raise Mistake(
                "no-chat-template",
                f"{folder.name} has no chat template",
                "leave out `frame chat`, and write the whole text into the prompts",
            )
        return cls(template, token_texts(settings))

    def around(self, text: str) -> tuple[str, str]:
        """What stands before and behind a text. Raises :class:`Mistake` where that is changed."""
        if self._rendered(text) != self.before + text + self.behind:
            raise Mistake(
                "framed-text",
                f"the model's chat template does not leave this prompt as it is: {text[:60]!r}",
                "take white space away from its ends",
            )
        return self.before, self.behind

    @cached_property
    def _compiled(self) -> Any:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> NoReturn:
            raise TemplateError(message)

        sandbox = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        sandbox.globals["raise_exception"] = refuse
        return sandbox.from_string(self._template)

    def _rendered(self, text: str) -> str:
        messages = [{"role": "user", "content": text}]
        try:
            return str(
                self._compiled.render(
                    messages=messages, add_generation_prompt=True, **self._special
                )
            )
        except Exception as error:  # whatever its author's code raises
            reason = one_line(f"{type(error).__name__}: {error}")
            raise _unusable(f"can't be rendered: {reason}") from None


def _default(said: Any) -> str:
    """The template that a configuration names; of several, the one called `default`."""
    if isinstance(said, list):
        named = {one.get("name"): one.get("template") for one in said if isinstance(one, dict)}
        said = named.get("default")
    return said if isinstance(said, str) else ""


def _unusable(what: str) -> Mistake:
    way = "leave out `frame chat`, and write the whole text into the prompts"
    return Mistake("bad-chat-template", f"the model's chat template {what}", way)
