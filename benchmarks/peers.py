"""Other tools, each in an environment of its own, kept running, asked for one piece of work a time.

    python benchmarks/peers.py pyvene nnsight     (or `make peers`) installs them

A peer that can't be installed, started or used is reported with the last line of its error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import Pairs
from turns import PeerFailure, Timing

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-peers"
WORKERS = Path(__file__).parent / "peer_workers"
NAMES = ("pyvene", "nnsight")


def install(name: str) -> None:
    """Make the environment of a peer. Torch comes first, so that the peer brings no other build.

    Raises:
        PeerFailure: with the last line of the command that failed.
    """
    home = HOME / name
    python = str(home / "bin/python")
    version = torch.__version__.partition("+")[0]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [*pip, f"torch=={version}", "-c", str(ROOT / "constraints.txt")],
        [*pip, name],
    ):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            failure = _last_line(done.stderr) or f"{command[0]} failed"
            (home / "error").write_text(failure)
            raise PeerFailure(failure)
    (home / "error").unlink(missing_ok=True)


@dataclass
class Peer:
    """A tool in its own process. ``scratch`` is for the files that it gets."""

    name: str
    model: Path
    scratch: Path
    version: str = ""
    _process: subprocess.Popen[str] | None = None
    _errors: Any = None
    _answers: Any = None

    def side(self, work: str, pairs: Pairs, **options: Any) -> PeerSide:
        """The peer's side of a comparison: ``work`` is a function of its worker."""
        return PeerSide(self, work, pairs, options)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the worker answers.

        Raises:
            PeerFailure: if it can't be started, fails, or has gone.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailure(self._said() or "the worker ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailure(answer["error"])
        return answer

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        home = HOME / self.name
        python, failed = home / "bin/python", home / "error"
        if failed.exists():
            raise PeerFailure(f"could not be installed: {failed.read_text()}")
        if not python.exists():
            raise PeerFailure("not installed: `make peers` installs it")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the worker)
        # Answers have a pipe of their own: tools print what they like.
        reading, writing = os.pipe()
        self._answers = os.fdopen(reading)
        self._process = subprocess.Popen(
            [str(python), str(WORKERS / f"{self.name}_worker.py"), str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=(writing,),
            text=True,
            cwd=self.scratch,
        )
        os.close(writing)
        opened = {"do": "open", "folder": str(self.model), "threads": torch.get_num_threads()}
        self.version = self.ask(opened)["version"]
        return self._process

    def _said(self) -> str:
        self._errors.seek(0)
        return _last_line(self._errors.read())


@dataclass
class PeerSide:
    """One piece of work of a peer, on these pairs."""

    peer: Peer
    work: str
    pairs: Pairs
    options: dict[str, Any]
    _file: Path | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.peer.name

    def run(self) -> Timing:
        if self._file is None:
            self._file = self.peer.scratch / f"{self.peer.name}-{self.work}.json"
            sides = ("base", "source", "answers")
            self._file.write_text(json.dumps({s: getattr(self.pairs, s).tolist() for s in sides}))
        request = {"do": self.work, "pairs": str(self._file), **self.options}
        answer = self.peer.ask(request)
        output = None if answer["output"] is None else torch.tensor(answer["output"])
        return Timing(answer["seconds"], output, answer.get("parts", {}))

    def loss(self, basis: torch.Tensor) -> float:
        """The loss of a direction, as the peer computes it."""
        options = self.options | {"basis": basis[:, 0].tolist()}
        side = PeerSide(self.peer, "das_loss", self.pairs, options)
        output = side.run().output
        assert output is not None
        return float(output)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Install other tools to compare with.")
    parser.add_argument("names", nargs="*", default=NAMES)
    failed = False
    for name in parser.parse_args().names:
        try:
            install(name)
            print(f"{name} is installed")
        except PeerFailure as failure:
            failed = True
            print(f"{name} could not be installed: {failure}", file=sys.stderr)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
