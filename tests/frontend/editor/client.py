"""A small client of the language server's protocol, over the pipes of a process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PATIENCE = 60
"""Seconds that an answer may take on a busy machine."""


class Refused(Exception):
    """The server's answer is an error."""


class Client:
    """One server, and what it has said of each document."""

    def __init__(
        self,
        folder: Path,
        encodings: list[str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "causaldsl", "lsp", "--stdio"),
    ):
        places = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.count = 0
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.said: dict[str, dict[str, Any]] = {}
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.complaints: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()
        general = {"positionEncodings": encodings} if encodings else {}
        folders = [{"uri": folder.as_uri(), "name": "world"}]
        self.able = self.ask(
            "initialize",
            processId=None,
            rootUri=folder.as_uri(),
            workspaceFolders=folders,
            capabilities={"general": general, "workspace": {"workspaceFolders": True}},
        )["capabilities"]
        self.tell("initialized")

    def _listen(self) -> None:
        pipe = self.process.stdout
        assert pipe is not None
        while True:
            length = None
            while (line := pipe.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length"):
                    length = int(line.partition(b":")[2])
            if length is None:
                self.messages.put(None)
                return
            self.messages.put(json.loads(pipe.read(length)))

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.complaints += self.process.stderr

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def listen(self) -> dict[str, Any]:
        """The next message of the server."""
        try:
            message = self.messages.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"nothing more is said than {self.said}") from None
        assert message is not None, b"".join(self.complaints).decode()
        if message.get("method") == "textDocument/publishDiagnostics":
            self.said[message["params"]["uri"]] = message["params"]
        return message

    def tell(self, method: str, **params: Any) -> None:
        self._send(method=method, params=params)

    def ask(self, method: str, **params: Any) -> Any:
        """The server's answer. Raises :class:`Refused` for an error."""
        self.count += 1
        self._send(id=self.count, method=method, params=params)
        while (message := self.listen()).get("id") != self.count:
            pass
        if "error" in message:
            raise Refused(message["error"]["message"])
        return message["result"]

    def write(self, path: Path, text: str) -> None:
        """Open a document, or give one that is open another text; nothing is saved."""
        uri = path.as_uri()
        self.versions[uri] = version = self.versions.get(uri, 0) + 1
        known = uri in self.texts
        self.texts[uri] = text
        if known:
            about = {"uri": uri, "version": version}
            self.tell("textDocument/didChange", textDocument=about, contentChanges=[{"text": text}])
        else:
            about = {"uri": uri, "languageId": "cpatch", "version": version, "text": text}
            self.tell("textDocument/didOpen", textDocument=about)

    def close(self, path: Path) -> None:
        uri = path.as_uri()
        del self.texts[uri]
        self.tell("textDocument/didClose", textDocument={"uri": uri})

    def found(self, path: Path, wanted: set[str]) -> list[dict[str, Any]]:
        """What the server says of a document, as soon as these are its codes."""
        uri = path.as_uri()
        while True:
            said = self.said.get(uri, {})
            current = said.get("version") == self.versions.get(uri)
            if current and {d["code"] for d in said["diagnostics"]} == wanted:
                return list(said["diagnostics"])
            self.listen()

    def at(self, path: Path, sought: str, method: str, **more: Any) -> Any:
        """Ask of the place of ``|`` in a piece of the document's text, such as `let |a`."""
        uri = path.as_uri()
        text = self.texts[uri]
        plain = sought.replace("|", "")
        offset = text.index(plain) + (sought.index("|") if "|" in sought else 0)
        return self.ask(
            f"textDocument/{method}",
            textDocument={"uri": uri},
            position=position(text, offset),
            **more,
        )

    def end(self) -> int:
        """Say goodbye, and give the server's exit code."""
        self.ask("shutdown")
        self.tell("exit")
        return self.process.wait(PATIENCE)


def position(text: str, offset: int) -> dict[str, int]:
    """Line and column of a character, in units of UTF-16."""
    line = text.rfind("\n", 0, offset) + 1
    units = sum(2 if ord(char) > 0xFFFF else 1 for char in text[line:offset])
    return {"line": text.count("\n", 0, offset), "character": units}


def inside(text: str, place: dict[str, Any]) -> str:
    """The text in a range."""
    lines = text.split("\n")

    def offset(at: dict[str, int]) -> int:
        start = sum(len(line) + 1 for line in lines[: at["line"]])
        units, count = 0, 0
        for char in lines[at["line"]] if at["line"] < len(lines) else "":
            if units >= at["character"]:
                break
            units, count = units + (2 if ord(char) > 0xFFFF else 1), count + 1
        return start + count

    return text[offset(place["start"]) : offset(place["end"])]


def edited(text: str, edits: list[dict[str, Any]]) -> str:
    """A text with edits of the protocol made."""
    for edit in sorted(edits, key=lambda e: _key(e["range"]["start"]), reverse=True):
        lines = text.split("\n")
        starts = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]
        places = [edit["range"][end] for end in ("start", "end")]
        first, last = (
            starts[p["line"]] + p["character"] if p["line"] < len(starts) else len(text)
            for p in places
        )
        text = text[:first] + edit["newText"] + text[last:]
    return text


def _key(at: dict[str, int]) -> tuple[int, int]:
    return at["line"], at["character"]
