"""`causaldsl audit direction.safetensors`: an audit without a program, by writing the program."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from causaldsl.commands.options import Commands, add_run_options
from causaldsl.commands.run import run_file
from causaldsl.diagnostics import Diagnostic, Mistake, ProgramError, Source, Span, wrong

_WRITTEN = "the program that stands for this command"
_SITE = "site audited_site = "
Piece = str | tuple[str, Source]
"""Text, or an argument: how it is written, and as it was given."""


def add(commands: Commands) -> None:
    command = commands.add_parser("audit", help="is a direction a feature or an illusion?")
    command.add_argument("direction", type=Path, help="safetensors file with the direction")
    command.add_argument("--model", required=True, help="as in a program: a name or a folder")
    command.add_argument("--site", required=True, help="such as mlp_hidden[20] (at END) or @ S2")
    command.add_argument(
        "--pairs", required=True, type=Path, help="their file: JSON lines, CSV, Parquet"
    )
    command.add_argument("--against", type=Path, help="a residual direction, safetensors")
    command.add_argument(
        "--train", type=_share, help="share of unsplit pairs to train DAS on, for more evidence"
    )
    add_run_options(command)
    command.set_defaults(command=_audit, settings=[], limits=[])


def _share(text: str) -> float:
    """A share of the pairs, neither none nor all."""
    value = float(text)
    if not 1e-9 <= value <= 1 - 1e-9:
        raise argparse.ArgumentTypeError("a share is a number between 0 and 1")
    return value


class Written:
    """A program in the making, and which of its parts stand for arguments of the command."""

    def __init__(self) -> None:
        self.text = ""
        self._arguments: list[tuple[int, int, Source]] = []

    def add(self, *pieces: Piece) -> None:
        """A line."""
        for piece in pieces:
            text, given = piece if isinstance(piece, tuple) else (piece, None)
            if given is not None:
                self._arguments.append((len(self.text), len(self.text) + len(text), given))
            self.text += text
        self.text += "\n"

    def placed(self, diagnostic: Diagnostic) -> Diagnostic:
        """The same mistake or warning, placed in the argument that the user gave."""
        labels = [replace(label, span=self._span(label.span)) for label in diagnostic.labels]
        kept = tuple(label for label in labels if label.span.source.name != _WRITTEN)
        return replace(diagnostic, span=self._span(diagnostic.span), labels=kept)

    def _span(self, span: Span) -> Span:
        for start, end, given in self._arguments:
            if not start <= span.start < end:
                continue
            if self.text[start:end] != given.text:
                return Span(given, 0, len(given.text))
            return Span(given, span.start - start, min(span.end, end) - start)
        return replace(span, source=Source(_WRITTEN, self.text))


def program_of(options: argparse.Namespace) -> Written:
    """The program that does the audit, with absolute paths.

    Raises:
        Mistake: if a file is missing, or an argument can't stand in a program.
        ProgramError: if the site is not one.
    """
    for path in (options.direction, options.pairs, options.against):
        if path is not None and not path.is_file():
            raise Mistake(
                "missing-file", f"there is no file {path}", "paths are relative to where you are"
            )
    model, site = Source("--model", options.model), Source("--site", " ".join(options.site.split()))
    pairs = Source("--pairs", str(options.pairs))
    direction = Source("direction", str(options.direction))
    at_end = "" if "@" in site.text else " @ END"
    _check_site(site, at_end)
    written = Written()
    there = Path(options.model)
    name = _quoted(there.resolve() if there.exists() else options.model)
    written.add("model lm = ", (name, model))
    part: list[Piece] = []
    if options.train is not None:
        share = Source("--train", f"{options.train:g}")
        part = [", train: ", (f"{options.train:.9f}", share)]
    path = _quoted(options.pairs.resolve())
    word = _reader(options.pairs)
    written.add("pairs prompts_in_pairs = ", (f"{word}({path}", pairs), *part, ")")
    written.add(_SITE, (site.text, site), at_end)
    written.add("subspace v = file(", (_quoted(options.direction.resolve()), direction), ")")
    against: list[Piece] = []
    if options.against is not None:
        other = Source("--against", str(options.against))
        written.add("subspace u = file(", (_quoted(options.against.resolve()), other), ")")
        against = [" against: ", ("u", other), ","]
    written.add(
        *("audit verdict = illusion(", ("v", direction), ",", *against),
        *(" at: ", ("audited_site", site), ", on: ", ("prompts_in_pairs", pairs), ")"),
    )
    return written


def _reader(pairs: Path) -> str:
    """The word that reads the pairs: tables, and data as others publish it, are `dataset`'s."""
    with pairs.open("rb") as file:
        begin = file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip()
    return "jsonl" if begin.startswith(b"{") or not begin else "dataset"


def _check_site(site: Source, after: str) -> None:
    """A site that can't be read is wrong in itself, not where the program goes on."""
    from causaldsl.syntax.parse import parse  # the parser is slow to import

    comment = site.text.find("#")
    if comment >= 0:
        place = Span(site, comment, len(site.text))
        raise wrong("syntax", "a comment can't stand here", place, "leave it out")
    try:
        found = parse(Source(_WRITTEN, _SITE + site.text + after))
    except ProgramError as error:
        first = error.diagnostics[0]
        start = min(max(0, first.span.start - len(_SITE)), len(site.text))
        place = Span(site, start, max(start, first.span.end - len(_SITE)))
        raise wrong("syntax", f"`{site.text}` is not a site", place, first.help) from None
    if len(found.statements) > 1:
        whole = Span(site, 0, len(site.text))
        raise wrong("syntax", "this is more than a site", whole, "give one, such as mlp_hidden[20]")


def _audit(options: argparse.Namespace) -> int:
    """Write the program, and run it as `causaldsl run` would."""
    written = program_of(options)
    files = (options.direction, options.pairs, options.against)
    options.allow = [path for path in files if path is not None]
    try:
        text = written.text.encode()
    except UnicodeEncodeError:
        message = "an argument of this command is not UTF-8 text"
        raise Mistake("unreadable-file", message, "give files and folders other names") from None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "audit.cpatch"
        program.write_bytes(text)
        try:
            return run_file(program, options, written.placed)
        except ProgramError as error:
            raise ProgramError([written.placed(d) for d in error.diagnostics]) from None


def _quoted(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)
