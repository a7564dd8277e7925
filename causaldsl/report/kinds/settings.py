"""What the command line set: params, and the model."""

from __future__ import annotations

from causaldsl.report.html.markup import Html, tag
from causaldsl.report.html.records import shown
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.view import View
from causaldsl.syntax import ast


@kind
class Settings(Kind[float | str]):
    fields = ("params",)
    page_place = 81

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        if isinstance(statement, ast.Model):
            return _set_to(view, "model")
        return super().beside(view, statement)

    def panel(self, view: View, name: str, record: float | str) -> Html | None:
        return _set_to(view, name)

    def facts(self, view: View) -> list[str]:
        return [f"{name} = {shown(value)}" for name, value in view.results.params.items()]


def _set_to(view: View, setting: str) -> Html | None:
    value = view.program.settings.get(setting)
    return tag("p", "set to ", tag("b", value), " for this run") if value else None
