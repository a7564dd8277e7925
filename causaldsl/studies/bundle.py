"""What a reviewer wants of a run, in one file: the run itself, tables, figures, and the methods."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from causaldsl.report.pictures import pdf_of_svg
from causaldsl.results.numbers import Number
from causaldsl.results.records import Expectation, Results
from causaldsl.shown import one_line
from causaldsl.studies.runs import read_run

_TIME = (1980, 1, 1, 0, 0, 0)
"""So that bundles of equal runs are equal files."""
_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
Rows = list[list[str]]


def bundle(folder: Path, out: Path) -> list[str]:
    """Write the bundle of a run as a zip file; gives notes of figures that could not be made.

    Raises:
        Mistake: if the run can't be read.
    """
    results = read_run(folder).results
    notes: list[str] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:

        def write(name: str, content: bytes | str) -> None:
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(info, content)

        write("methods.txt", methods(results))
        for name, rows in tables(results):
            write(f"tables/{name}.csv", as_csv(rows))
            write(f"tables/{name}.tex", as_latex(rows))
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.resolve() != out.resolve():
                write(f"run/{path.relative_to(folder).as_posix()}", path.read_bytes())
        for path in sorted(folder.glob("*.svg")):
            try:
                write(f"figures/{path.stem}.pdf", pdf_of_svg(path.read_text("utf-8")))
            except Exception as error:  # two libraries, and any picture
                reason = one_line(error)
                notes.append(f"{path.name} could not be made a PDF: {reason}")
    return notes


def tables(results: Results) -> Iterator[tuple[str, Rows]]:
    """The claims, and every measure and sweep, each as rows of text under a head."""
    if results.expectations:
        head = ["claim", "verdict", "left", "right", "difference", "low", "high", "n", "registered"]
        yield "claims", [head, *map(_claim, results.expectations)]
    numbers = {name: one.numbers for name, one in results.generations.items() if one.metrics}
    for measure, arms in (results.measures | numbers).items():
        metrics = list(dict.fromkeys(metric for row in arms.values() for metric in row))
        head = ["arm", *(f"{m}{part}" for m in metrics for part in ("", " low", " high", " n"))]
        rows = [
            [arm, *(cell for m in metrics for cell in _number(row.get(m)))]
            for arm, row in arms.items()
        ]
        yield measure, [head, *rows]
    for name, record in results.generations.items():
        if record.texts:
            side_by_side = zip(record.prompts, *record.texts.values(), strict=True)
            yield f"{name}_texts", [["prompt", *record.texts], *map(list, side_by_side)]


def as_csv(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_latex(rows: Rows) -> str:
    """A table for the package booktabs."""
    head, *body = (" & ".join(map(_escaped, row)) + r" \\" for row in rows)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    lines = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def methods(results: Results) -> str:
    """A paragraph that says what was done, from what the run recorded."""
    said = results.provenance
    pairs = [f"{name} ({about['n_pairs']} pairs)" for name, about in said.get("pairs", {}).items()]
    claims = results.expectations
    counts = {v: sum(c.verdict == v for c in claims) for v in ("held", "fell", "undecided")}
    on_record = sum(c.registered is True for c in claims)
    seed = f" and seed {said['seed']}" if said.get("seed") else ""
    parts = [
        f"{results.program} was run with causaldsl {said.get('causaldsl')} on {said.get('model')}"
        f" (fingerprint {str(said.get('fingerprint'))[:12]}) in {said.get('dtype')} on"
        f" {said.get('device')}{seed}, with torch {said.get('torch')}.",
        f"Prompts were {_listed(pairs)}." if pairs else "",
        f"Intervals are 95% bootstrap intervals over {said.get('bootstrap_resamples')} draws of"
        " units, within their templates; pairs that share a prompt are one unit. Percentiles are"
        " expanded for the number of units (Hesterberg 2015), and those of rates are exact.",
    ]
    if claims:
        found = _listed([f"{n} {verdict}" for verdict, n in counts.items() if n])
        parts.append(
            f"Of {len(claims)} claims {found}: one held if the interval of the difference of its"
            f" sides lay on the claimed side of 0. {on_record} were on record before the run."
        )
    return " ".join(part for part in parts if part) + "\n"


def _claim(claim: Expectation) -> list[str]:
    sides = (claim.left, claim.right, claim.difference, claim.low, claim.high)
    registered = {True: "yes", False: "no", None: ""}[claim.registered]
    return [claim.text, claim.verdict, *map(_plain, sides), str(claim.n or ""), registered]


def _number(number: Number | None) -> list[str]:
    if number is None:
        return [""] * 4
    return [*map(_plain, (number.mean, number.low, number.high)), str(number.n)]


def _plain(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
