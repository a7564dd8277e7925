"""What an editor's protocol calls things: places, messages, items, symbols."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lsprotocol import types as lsp
from pygls.uris import from_fs_path, to_fs_path

from causaldsl.diagnostics import Diagnostic, Span
from causaldsl.editor.completion import Offer
from causaldsl.editor.document import Place, Reading
from causaldsl.editor.here import Item, What
from causaldsl.editor.lines import Lines
from causaldsl.editor.symbols import Outlined
from causaldsl.editor.workspace import Workspace
from causaldsl.shown import visible
from causaldsl.syntax import ast

_KINDS: Mapping[What, lsp.CompletionItemKind] = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "name": lsp.CompletionItemKind.Variable,
    "function": lsp.CompletionItemKind.Function,
    "site": lsp.CompletionItemKind.Property,
    "option": lsp.CompletionItemKind.Field,
    "value": lsp.CompletionItemKind.EnumMember,
    "metric": lsp.CompletionItemKind.Unit,
    "file": lsp.CompletionItemKind.File,
    "position": lsp.CompletionItemKind.Reference,
}
_SYMBOLS = {
    "param": lsp.SymbolKind.Constant,
    "model": lsp.SymbolKind.Module,
    "lexicon": lsp.SymbolKind.Array,
    "prompts": lsp.SymbolKind.String,
    "pairs": lsp.SymbolKind.Array,
    "site": lsp.SymbolKind.Property,
    "set": lsp.SymbolKind.Array,
    "arm": lsp.SymbolKind.Method,
    "position": lsp.SymbolKind.Key,
    "measure": lsp.SymbolKind.Class,
    "sweep": lsp.SymbolKind.Class,
    "table": lsp.SymbolKind.Class,
    "histogram": lsp.SymbolKind.Class,
    "trace": lsp.SymbolKind.Class,
    "attribution": lsp.SymbolKind.Class,
    "audit": lsp.SymbolKind.Class,
    "expect": lsp.SymbolKind.Boolean,
    "plot": lsp.SymbolKind.Event,
    "render": lsp.SymbolKind.Event,
}
_UNNECESSARY = {"unused-definition", "unused-loop-variable"}


def path_of(uri: str) -> Path:
    """Where a document lies; one that is not saved yet counts as in the current folder."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(path or "untitled.cpatch").resolve()


def uri_of(path: Path) -> str:
    return from_fs_path(str(path)) or path.as_uri()


def position_in(text: str, offset: int) -> lsp.Position:
    return lsp.Position(*Lines(text).position(offset))


def range_in(text: str, start: int, end: int) -> lsp.Range:
    return lsp.Range(position_in(text, start), position_in(text, end))


def location(workspace: Workspace, place: Place) -> lsp.Location | None:
    reading = workspace.reading(place.path)
    if reading is None:
        return None
    return lsp.Location(uri_of(place.path), range_in(reading.pieces.text, place.start, place.end))


def span_range(reading: Reading, span: Span) -> lsp.Range | None:
    """Where a span of this file is; None for one that is elsewhere."""
    place = reading.place(span)
    if place is None or place.path != reading.path:
        return None
    return range_in(reading.pieces.text, place.start, place.end)


def diagnostic(workspace: Workspace, reading: Reading, found: Diagnostic) -> lsp.Diagnostic:
    """A message as editors show it; one about an imported file stands at its import."""
    help = f"\nhelp: {found.help}" if found.help else ""
    where = span_range(reading, found.span)
    related = [(label.span, label.text) for label in found.labels]
    if where is None:
        where = _import_of(reading, found.span)
        related.insert(0, (found.span, found.message))
    links = []
    for span, remark in related:
        place = reading.place(span)
        at = location(workspace, place) if place is not None else None
        if at is not None:
            links.append(lsp.DiagnosticRelatedInformation(at, _shown(remark)))
    warning = lsp.DiagnosticSeverity.Warning
    return lsp.Diagnostic(
        where,
        _shown(found.message + help),
        severity=warning if found.warning else lsp.DiagnosticSeverity.Error,
        code=found.code,
        source="causaldsl",
        related_information=links,
        tags=[lsp.DiagnosticTag.Unnecessary] if found.code in _UNNECESSARY else None,
    )


def _shown(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def _import_of(reading: Reading, span: Span) -> lsp.Range:
    """The import that brings a file, or else the start of the program."""
    imports = [s for s in reading.pieces.statements() if isinstance(s, ast.ImportFile)]
    name = Path(span.source.name).name
    for one in sorted(imports, key=lambda s: Path(s.path.text).name != name):
        found = span_range(reading, one.path.span)
        if found is not None:
            return found
    return range_in(reading.pieces.text, 0, 0)


def completions(reading: Reading, offset: int, offer: Offer) -> lsp.CompletionList:
    where = range_in(reading.pieces.text, offset - offer.typed, offset)
    return lsp.CompletionList(
        is_incomplete=False,
        items=[_item(item, where, f"{n:04}") for n, item in enumerate(offer.items)],
    )


def _item(item: Item, where: lsp.Range, order: str) -> lsp.CompletionItem:
    doc = lsp.MarkupContent(lsp.MarkupKind.Markdown, _shown(item.doc)) if item.doc else None
    return lsp.CompletionItem(
        _shown(item.label),
        kind=_KINDS[item.what],
        detail=_shown(item.detail) or None,
        documentation=doc,
        sort_text=order,
        filter_text=item.label,
        text_edit=lsp.TextEdit(where, item.insert or item.label),
    )


def symbol(reading: Reading, part: Outlined) -> lsp.DocumentSymbol | None:
    whole, at = span_range(reading, part.span), span_range(reading, part.at)
    if whole is None or at is None:
        return None
    inner = [found for p in part.parts if (found := symbol(reading, p)) is not None]
    kind = _SYMBOLS.get(part.word, lsp.SymbolKind.Variable)
    return lsp.DocumentSymbol(part.name or "?", kind, whole, at, detail=part.word, children=inner)
