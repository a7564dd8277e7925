"""Where the numbers come from, and how to get them again."""

from __future__ import annotations

import shlex

from causaldsl.report.html.markup import Content, Html, section, tag
from causaldsl.report.html.records import facts
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.numbers import plain
from causaldsl.report.view import View

_PLAIN = {"backend": "cone", "device": "cpu", "dtype": "float32", "seed": 0}
"""Settings of a run and the values that need not be written."""


@kind
class Provenance(Kind[None]):
    fields = ("provenance", "program", "timings", "schema_version")
    page_place = 99

    def section(self, view: View) -> Html:
        """The command, the model, every seed and version, and what identifies the pairs."""
        told = view.results.provenance.items()
        found = {key: value for key, value in told if not isinstance(value, dict)}
        found.pop("program_text", None)
        used = view.results.provenance.get("packages", {})
        packages = {f"package {name}": version for name, version in used.items()}
        pairs: list[list[Content]] = [
            [
                tag("code", name),
                str(entry["n_pairs"]),
                str(entry.get("units", "")),
                tag("code", entry["digest"]),
            ]
            for name, entry in view.results.provenance.get("pairs", {}).items()
        ]
        times = {key: plain(seconds) for key, seconds in view.results.timings.items()}
        return section(
            "provenance",
            "Provenance",
            tag("p", "Run it again with:"),
            tag("pre", tag("code", _command(view)), class_="command"),
            facts(found | packages | times),
            table(
                ["prompts", "pairs", "n", "digest"], pairs, "Prompts, identified by their content"
            )
            if pairs
            else None,
            tag(
                "p",
                "The same folder holds every number (results.json), the compiled graph (graph.txt, "
                "graph.json), the pairs, the learned subspaces and the pictures.",
            ),
        )


def _command(view: View) -> str:
    """The command line that gives this run, with only the settings that are not the usual ones."""
    provenance = view.results.provenance
    words = ["causaldsl", "run", view.program.path.as_posix()]
    model = view.program.model
    text = model is not None and model.shapes.text
    said = {"dtype": model.dtype} if model is not None and model.dtype else {}
    for setting, usual in (_PLAIN | said).items():
        value = provenance.get(setting, usual)
        # A toy model has one backend only; another one that was chosen is not used.
        if value != usual and (setting != "backend" or text):
            words += [f"--{setting}", str(value)]
    words += ["--memory", str(provenance["memory"])] if "memory" in provenance else []
    words += ["--tf32"] if provenance.get("tf32") else []
    for path in view.program.readable:
        words += ["--allow-path", path.as_posix()]
    for name, value in view.program.settings.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
