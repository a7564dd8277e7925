"""Whatever is put in, what comes out is a result or a message, soon, and without much memory."""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import time
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path

import pytest
from pydantic import ValidationError

from causaldsl.check import context
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.limits import Limits
from causaldsl.check.program import Checker
from causaldsl.check.statements import model
from causaldsl.diagnostics import Mistake, ProgramError, Source, render_all
from causaldsl.graph.compiler import compile_program
from causaldsl.model.folders import folder_shapes, weight_count
from causaldsl.model.gguf_files import check_header
from causaldsl.model.tokens import Tokens
from causaldsl.results.records import Results
from causaldsl.shown import visible
from causaldsl.syntax import recover
from causaldsl.syntax.format import format_program
from causaldsl.syntax.recover import read
from causaldsl.user_cache import cache_folder
from tests.safety.inputs import program

FEW, MANY = 5_000, int(os.environ.get("FUZZ_TEXTS", "200000"))
FILES = int(os.environ.get("FUZZ_FILES", "100000"))
"""How many texts are read, and files of all kinds; fewer where there is little time."""
PIECE = 15_000
"""How many texts are one test: so a fault in one piece leaves the others to be read."""
SECONDS, MEMORY = 2.0, 500_000  # KiB
SMALL = Limits({"pairs": 30, "cells": 60, "prompts": 50, "words": 100})


def checked(text: str, world: Path) -> CheckedProgram | str:
    """The program, or what is said of it."""
    path = world / "fuzz.cpatch"
    try:
        return Checker(Source("fuzz.cpatch", text), path, limits=SMALL).check()
    except ProgramError as error:
        return render_all(error.diagnostics) or "ERROR: nothing is said"
    except Mistake as mistake:
        return mistake.message


@lru_cache(50)
def again(source: Source) -> object:
    return read(source)


def one(seed: int, world: Path) -> str:
    """Read, format, check and compile one input. Gives what became of it."""
    text = program(seed)
    tree, errors = again(Source("fuzz.cpatch", text))
    became = "wrong"
    if not errors:
        became = "readable"
        written = format_program(tree)
        other, more = read(Source("again", written))
        assert not more, render_all(more)
        assert other == tree
        assert format_program(other) == written
    found = checked(text, world)
    if isinstance(found, str):
        assert visible(found).encode()
        assert not found.startswith("ERROR")
        return became
    compile_program(found)
    return "right"


def fuzzed(seeds: range, world: Path) -> dict[str, int]:
    became: dict[str, int] = {}
    checked('import "prompts.cpatch"\n', world)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        started = time.process_time()
        try:
            found = one(seed, world)
        except BaseException as error:
            error.add_note(f"seed {seed}: {program(seed)!r}")
            raise
        assert time.process_time() - started < SECONDS, (seed, program(seed))
        became[found] = became.get(found, 0) + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    return became


@pytest.fixture
def read_once(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is the same for all inputs is read once: the model, its tokenizer, the prelude, and the
    statements that many inputs take from the corpus. The prelude makes few pairs, every time."""
    prelude = world / "prompts.cpatch"
    whole = prelude.read_text()
    few = whole.replace("{ train 8  test 6  seed 0 }", "{ train 2  test 2  seed 0 }")
    assert few != whole
    prelude.write_text(few)
    monkeypatch.setattr(Tokens, "load", cache(Tokens.load))
    monkeypatch.setattr(Tokens, "encode", lru_cache(1000)(Tokens.encode))
    monkeypatch.setattr(Tokens, "single", lru_cache(1000)(Tokens.single))
    monkeypatch.setattr(model, "resolve", cache(model.resolve))
    monkeypatch.setattr(context, "read", again)
    monkeypatch.setattr(recover, "_trees", lru_cache(2000)(recover._trees))
    yield
    prelude.write_text(whole)


@pytest.mark.usefixtures("read_once")
def test_any_text_is_a_program_or_a_message(world: Path) -> None:
    became = fuzzed(range(FEW), world)
    # The inputs reach every floor: some are no sentences, some say nothing sensible, some run.
    assert became["wrong"] > FEW / 10
    assert became["readable"] > FEW / 10
    assert became["right"] > FEW / 100


@pytest.mark.soak
@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("first", range(FEW, MANY, PIECE))
def test_many_more_texts(first: int, world: Path) -> None:
    fuzzed(range(first, min(first + PIECE, MANY)), world)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of a file other than they were, or gone, or there twice."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, how = rng.randrange(len(found) + 1), rng.random()
        if how < 0.4:
            found[at : at + rng.randint(1, 4)] = rng.randbytes(rng.randint(1, 4))
        elif how < 0.6:
            del found[at : at + rng.randint(1, 50)]
        elif how < 0.75:
            found[at:at] = found[at : at + rng.randint(1, 40)]
        elif how < 0.9:
            found[at:at] = rng.choice(ODD)
        else:
            del found[at:]
    return bytes(found)


ODD = [
    *(
        b"\x00",
        b"\xff\xff\xff\xff",
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
        b"9" * 5000,
        b"\\ud800",
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b'"' * 3, b"\n\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"true"),
    *(b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 700 + b"]" * 700, b"\t", b",", b"\r", b"inf"),
]
Reader = Callable[[Path, Path], object]
"""Reads a file that was damaged, in the world."""


def _of_program(text: str) -> Reader:
    return lambda path, world: checked(text.format(path.name), world)


def _config(path: Path, world: Path) -> object:
    folder = path.parent
    shapes = folder_shapes("fuzzed", folder)
    return shapes.n_layers, weight_count(folder)


def _tokenizer(path: Path, world: Path) -> object:
    return Tokens.load(path.parent).encode("Mary and John")


DATASET = 'model lm = "tiny-llama"\npairs p = dataset("fuzz/{}")'
READERS: dict[str, tuple[str, Reader]] = {
    "jsonl": ("even.jsonl", _of_program('model lm = "tiny-llama"\npairs p = jsonl("fuzz/{}")')),
    "dataset, CSV": ("cities.csv", _of_program(DATASET)),
    "dataset, JSON": ("edits.json", _of_program(DATASET)),
    "dataset, Parquet": ("cities.parquet", _of_program(DATASET)),
    "lexicon of two columns": (
        "friends.tsv",
        _of_program('model lm = "tiny-llama"\nlexicon w = table("fuzz/{}")'),
    ),
    "lexicon": ("names.txt", _of_program('model lm = "tiny-llama"\nlexicon w = words("fuzz/{}")')),
    "corpus": ("texts.txt", _of_program('model lm = "tiny-llama"\nprompts c = corpus("fuzz/{}")')),
    "direction": (
        "e0.safetensors",
        _of_program('import "prompts.cpatch"\nsubspace v = file("fuzz/{}")'),
    ),
    "import": ("prompts.cpatch", _of_program('import "fuzz/{}"')),
    "config.json": ("tiny-llama/config.json", _config),
    "safetensors": ("tiny-llama/model.safetensors", lambda path, world: weight_count(path.parent)),
    "tokenizer_config.json": ("tiny-llama/tokenizer_config.json", _tokenizer),
    "tokenizer.json": ("tiny-llama/tokenizer.json", _tokenizer),
    "GGUF": ("tiny.gguf", lambda path, world: check_header(path)),
    "results.json": (
        "results.json",
        lambda path, world: Results.model_validate_json(path.read_bytes()),
    ),
}


def _sources(world: Path) -> None:
    """What the world lacks."""
    import numpy as np
    from pyarrow import csv, parquet
    from safetensors.numpy import save_file

    save_file({"basis": np.eye(32, 1)}, str(world / "e0.safetensors"))
    good = b"".join((world / "cities.csv").read_bytes().splitlines(keepends=True)[:3])
    parquet.write_table(csv.read_csv(io.BytesIO(good)), world / "cities.parquet")
    header = b"GGUF" + (3).to_bytes(4, "little") + (2).to_bytes(8, "little") * 2
    (world / "tiny.gguf").write_bytes(header + b"x" * 200)
    number = {"mean": 0.5, "n": 6, "low": 0.25, "high": 0.75}
    measured = {"m": {"clean": {"fldd": number}, "a": {"fldd": number, "kl": number}}}
    found = Results.model_validate({"program": "p.cpatch", "measures": measured})
    (world / "results.json").write_text(found.model_dump_json(indent=1))


def read_damaged(name: str, seeds: range, world: Path) -> set[str]:
    """What became of a file that was damaged, for each seed."""
    _sources(world)
    source, reader = READERS[name]
    data, folder = (world / source).read_bytes(), world / "fuzz"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    if "/" in source:
        for other in (world / source).parent.iterdir():
            (folder / other.name).write_bytes(other.read_bytes())
    path = folder / Path(source).name
    became = set()
    for seed in seeds:
        rng = random.Random(seed)
        part = data if len(data) < 50_000 else data[:20_000]
        path.write_bytes(damaged(part, rng))
        started = time.process_time()
        try:
            found = reader(path, world)
            became.add("message" if isinstance(found, str) else "read")
        except (Mistake, ValidationError):  # pydantic says the place
            became.add("message")
        except Exception as error:
            error.add_note(f"seed {seed}: {path.read_bytes()[:2000]!r}")
            raise
        assert time.process_time() - started < SECONDS, (seed, path.read_bytes()[:2000])
    return became


@pytest.mark.parametrize("name", READERS)
def test_files_are_read_or_refused(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    became = read_damaged(name, range(200), world)
    assert "message" in became
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_many_more_files(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path))
    assert "message" in read_damaged(name, range(200, 200 + FILES // len(READERS)), world)


def test_no_input_is_said_twice() -> None:
    assert len({program(seed) for seed in range(300)}) > 290
    assert json.dumps(program(7)) == json.dumps(program(7))
    assert re.search(r"[a-z]", program(2))
