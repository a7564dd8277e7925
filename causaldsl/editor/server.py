"""The language server: requests of an editor, answered from the open programs.

Text is taken in and names are found as it is typed; checks follow in a thread of their own, the
newest text first. Nothing is loaded of a model but its description and its tokenizer.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from causaldsl.diagnostics import Mistake, ProgramError, Source
from causaldsl.editor import protocol
from causaldsl.editor.completion import complete
from causaldsl.editor.document import Document, Reading
from causaldsl.editor.hover import hover
from causaldsl.editor.lines import Lines
from causaldsl.editor.renaming import rename, symbol_at
from causaldsl.editor.symbols import outline
from causaldsl.editor.workspace import Workspace
from causaldsl.syntax.format import format_program
from causaldsl.syntax.parse import parse
from causaldsl.version import VERSION

_SOON = 0.15
"""Seconds after which a check that takes longer is announced by its syntax errors."""
_REFUSED = -32803
"""The protocol's code of a request that can't be done."""
_log = logging.getLogger(__name__)


class _Protocol(LanguageServerProtocol):
    """The protocol with columns in units of UTF-16, which every editor understands."""

    @lsp_method(lsp.INITIALIZE)
    def lsp_initialize(self, params: lsp.InitializeParams) -> Any:
        if params.capabilities.general is not None:
            params.capabilities.general.position_encodings = None
        return (yield from super().lsp_initialize(params))


@dataclass
class _State:
    """What the server keeps: programs, and which of them wait to be checked."""

    workspace: Workspace = field(default_factory=Workspace)
    waiting: dict[Path, None] = field(default_factory=dict)
    uris: dict[Path, str] = field(default_factory=dict)
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    busy: asyncio.Task[None] | None = None


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Answer one editor until it says goodbye."""
    make_server().start_io(stdin, stdout)


def make_server() -> LanguageServer:
    """A server with all that it can do."""
    sync = lsp.TextDocumentSyncKind.Full
    server = LanguageServer(
        "causaldsl", VERSION, text_document_sync_kind=sync, protocol_cls=_Protocol
    )
    state = _State()
    _follow_documents(server, state)
    _answer_questions(server, state)
    _change_texts(server, state)
    return server


def _follow_documents(server: LanguageServer, state: _State) -> None:
    @server.feature(lsp.INITIALIZED)
    def initialized(params: lsp.InitializedParams) -> None:
        folders = server.workspace.folders.values()
        root = [server.workspace.root_uri] if server.workspace.root_uri else []
        uris = [folder.uri for folder in folders] or root
        state.workspace.folders = [protocol.path_of(uri) for uri in uris]

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        path = protocol.path_of(item.uri)
        state.uris[path] = item.uri
        state.workspace.documents[path] = Document(path, item.text, item.version)
        _check_soon(server, state, path)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        path = protocol.path_of(params.text_document.uri)
        text = server.workspace.get_text_document(params.text_document.uri).source
        state.workspace.documents[path].change(text, params.text_document.version)
        _check_soon(server, state, path)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        path = protocol.path_of(params.text_document.uri)
        document = state.workspace.documents[path]
        await asyncio.get_running_loop().run_in_executor(state.worker, document.checking.forget)
        _check_soon(server, state, path)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        path = protocol.path_of(params.text_document.uri)
        state.workspace.documents.pop(path, None)
        state.waiting.pop(path, None)
        uri = state.uris.pop(path, params.text_document.uri)
        server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))
        _check_soon(server, state, path)


def _check_soon(server: LanguageServer, state: _State, path: Path) -> None:
    """Check a program, and then those that import it."""
    own = [path] if path in state.workspace.documents else []
    state.waiting = dict.fromkeys([*own, *state.workspace.opened_with(path), *state.waiting])
    if state.busy is None or state.busy.done():
        state.busy = asyncio.get_running_loop().create_task(_check_waiting(server, state))


async def _check_waiting(server: LanguageServer, state: _State) -> None:
    while state.waiting:
        path = next(iter(state.waiting))
        del state.waiting[path]
        document = state.workspace.documents.get(path)
        if document is None:
            continue
        try:
            await _check(server, state, document)
        except Exception:  # a bug in a check must not end the server
            _log.exception("the check of %s failed", path)


async def _check(server: LanguageServer, state: _State, document: Document) -> None:
    """Check a program as it is now, and say what is wrong, unless it has changed by then."""
    loop, workspace = asyncio.get_running_loop(), state.workspace
    opened, started = workspace.opened(), document.reading.pieces
    opened.pop(document.path, None)
    checking = loop.run_in_executor(state.worker, document.check, opened)
    done, _ = await asyncio.wait({checking}, timeout=_SOON)
    if not done and document.reading.pieces is started:
        _publish(server, state, document, document.reading)
    found = await checking
    document.reading = replace(document.reading, checked=found.checked)
    if document.reading.pieces is started:
        _publish(server, state, document, document.reading)


def _publish(server: LanguageServer, state: _State, document: Document, reading: Reading) -> None:
    uri = state.uris.get(document.path)
    if uri is None:
        return
    found = [error for piece in reading.pieces.starts for error in piece.errors]
    if reading.checked is not None and reading.checked.pieces is reading.pieces:
        found = list(reading.checked.found)
    elif reading.checked is not None:  # of the last check, what is still there
        kept = (d for d in reading.checked.found if d.code != "syntax")
        found += [d for d in kept if reading.pieces.offset(d.span) is not None]
    messages = [protocol.diagnostic(state.workspace, reading, one) for one in found]
    server.text_document_publish_diagnostics(
        lsp.PublishDiagnosticsParams(uri, messages, version=document.version)
    )


def _reading(state: _State, uri: str) -> Reading | None:
    document = state.workspace.documents.get(protocol.path_of(uri))
    return document.reading if document is not None else None


def _at(state: _State, params: Any) -> tuple[Reading, int] | None:
    """The program that a request is about, and the offset of its place there."""
    reading = _reading(state, params.text_document.uri)
    if reading is None:
        return None
    place = params.position
    return reading, Lines(reading.pieces.text).offset(place.line, place.character)


def _answer_questions(server: LanguageServer, state: _State) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        at = _at(state, params)
        if at is None:
            return None
        shown = hover(*at, lambda: state.workspace.last_run(at[0].path))
        if shown is None:
            return None
        content = lsp.MarkupContent(lsp.MarkupKind.Markdown, shown.text)
        return lsp.Hover(content, protocol.span_range(at[0], shown.span))

    triggers = [".", "@", "(", ":", '"', "/", "{", " "]

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=triggers)
    )
    def completed(params: lsp.CompletionParams) -> lsp.CompletionList | None:
        at = _at(state, params)
        return protocol.completions(*at, complete(*at)) if at is not None else None

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def defined(params: lsp.DefinitionParams) -> lsp.Location | None:
        at = _at(state, params)
        mention = at[0].mention(at[1]) if at is not None else None
        if at is None or mention is None:
            return None
        place = at[0].definition(mention.symbol)
        return protocol.location(state.workspace, place) if place is not None else None

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def referred(params: lsp.ReferenceParams) -> list[lsp.Location]:
        at = _at(state, params)
        try:
            symbol, home = symbol_at(*at) if at is not None else (None, Path())
        except Mistake:
            return []
        found = []
        for reading, mentions in state.workspace.mentions(symbol, home) if symbol else ():
            for mention in mentions:
                place = reading.place(mention.span)
                wanted = params.context.include_declaration or not mention.defines
                where = protocol.location(state.workspace, place) if place and wanted else None
                found += [where] if where is not None else []
        return found

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def highlighted(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight]:
        at = _at(state, params)
        mention = at[0].mention(at[1]) if at is not None else None
        if at is None or mention is None:
            return []
        places = [protocol.span_range(at[0], m.span) for m in at[0].of(mention.symbol)]
        return [lsp.DocumentHighlight(place) for place in places if place is not None]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def outlined(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        reading = _reading(state, params.text_document.uri)
        if reading is None:
            return []
        parts = [part for s in reading.pieces.statements() if (part := outline(s)) is not None]
        return [s for part in parts if (s := protocol.symbol(reading, part)) is not None]


def _change_texts(server: LanguageServer, state: _State) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def renamable(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        at = _at(state, params)
        if at is None:
            return None
        _or_refuse(symbol_at, *at)
        mention = at[0].mention(at[1])
        return protocol.span_range(at[0], mention.span) if mention is not None else None

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def renamed(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        at = _at(state, params)
        if at is None:
            return None
        loop, new = asyncio.get_running_loop(), params.new_name
        before = state.workspace.opened()
        edits = await loop.run_in_executor(
            state.worker, _or_refuse, rename, state.workspace, *at, new
        )
        if state.workspace.opened() != before:
            raise JsonRpcException("the text has changed meanwhile", _REFUSED)
        changes = {}
        for path, places in edits.items():
            reading = state.workspace.reading(path)
            if reading is not None:
                text = reading.pieces.text
                ranges = [protocol.range_in(text, place.start, place.end) for place in places]
                uri = state.uris.get(path) or protocol.uri_of(path)
                changes[uri] = [lsp.TextEdit(where, new) for where in ranges]
        return lsp.WorkspaceEdit(changes=changes)

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatted(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        reading = _reading(state, params.text_document.uri)
        if reading is None:
            return []
        text = reading.pieces.text
        try:
            after = format_program(parse(Source(reading.pieces.name, text)))
        except ProgramError:
            raise JsonRpcException("mend the syntax errors first", _REFUSED) from None
        whole = protocol.range_in(text, 0, len(text))
        return [lsp.TextEdit(whole, after)] if after != text else []


def _or_refuse(function: Any, *given: Any) -> Any:
    """What a function gives, or a refusal that the editor shows."""
    try:
        return function(*given)
    except Mistake as mistake:
        help = f" ({mistake.help})" if mistake.help else ""
        raise JsonRpcException(mistake.message + help, _REFUSED) from None
