"""`generate`: texts of all arms, and the numbers of them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import Prompt
from causaldsl.engine.edits import read_changes
from causaldsl.engine.here import Here
from causaldsl.engine.metrics import Measured, Outcome
from causaldsl.engine.registry import evaluates, evaluates_together
from causaldsl.engine.runs import Group
from causaldsl.engine.session import Session
from causaldsl.engine.words.runs import Arm, changes_of, check_made, effects_of
from causaldsl.engine.writing import InForce, draws_of, write
from causaldsl.graph.operations import Operation
from causaldsl.model.tokens import Tokens
from causaldsl.plan.chunks import WRITTEN_TOGETHER
from causaldsl.plan.memory import BYTES, chunk_rows
from causaldsl.vocabulary.generation import TEXT_METRICS, GenerateWord, TextNumber, TextsWord
from causaldsl.vocabulary.metrics import Metric


@dataclass(frozen=True)
class Written:
    """New tokens and their text for each prompt of one arm; ``ended`` where the text was ended."""

    tokens: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    ended: tuple[bool, ...]


@evaluates_together(GenerateWord)
def generated(session: Session, operations: list[Operation]) -> list[Written]:
    """The texts of arms that go together."""
    first = operations[0]
    word, keys = first.word, [operation.key for operation in operations]
    assert isinstance(word, GenerateWord)
    prompts = session.graph.prompts_of(first.input("base"))
    arms = [Arm(changes_of(session, operation)) for operation in operations]
    tokens = _tokens(session)
    found = _Found(session, keys, prompts, arms)
    backend = session.retrying(session.plan.backends[first.key])
    batches = _batches(session, arms, prompts, word, backend.ragged)
    for rows in batches:
        if rows[0] in found.texts:
            continue
        session.progress("writing", len(found.texts), len(prompts))
        of_batch = partial(_in_pieces, session, first.key, arms, prompts, rows)
        found.add(rows, backend.in_pieces(of_batch))
    read_changes(watch for arm in arms for watch in arm.watches)
    effects = {key: effects_of(arm) for key, arm in zip(keys, arms, strict=True)}
    check_made(effects, session.noted, session.note)
    return [_written(tokens, prompts, found.of_arm(arm), word) for arm in range(len(arms))]


def _in_pieces(
    session: Session,
    key: str,
    arms: Sequence[Arm],
    prompts: Sequence[Prompt],
    rows: Sequence[int],
    pieces: int,
) -> list[list[list[int]]]:
    """New tokens of some prompts by arm, so many pieces of them one after the other."""
    size = -(-len(rows) // pieces)
    found: list[list[list[int]]] = [[] for _ in arms]
    for begin in range(0, len(rows), size):
        part = _of_rows(session, key, arms, prompts, rows[begin : begin + size])
        for own, more in zip(found, part, strict=True):
            own += more
    return found


def _of_rows(
    session: Session,
    key: str,
    arms: Sequence[Arm],
    prompts: Sequence[Prompt],
    rows: Sequence[int],
) -> list[list[list[int]]]:
    word = session.graph.operation(key).word
    assert isinstance(word, GenerateWord)
    some = [prompts[row] for row in rows]
    lengths = torch.tensor([prompt.length for prompt in some])
    longest = int(lengths.max())
    padded = [[*prompt.ids, *[0] * (longest - prompt.length)] for prompt in some]
    ids = torch.tensor(padded, dtype=torch.long, device=session.loaded.device)
    places = {c.at for arm in arms for c in arm.changes if not c.at.position.whole}
    at = {place: torch.tensor([place.position.resolve(p) for p in some]) for place in places}
    group = Group(torch.tensor(rows), None, at, longest=longest)  # type: ignore[arg-type]
    does = [[InForce(*one) for one in zip(arm.changes, arm.watches, strict=True)] for arm in arms]
    backend = session.backends[session.plan.backends[key]]
    writer = backend.writer(ids, lengths, word.tokens)
    return write(writer, does, group, lengths, draws_of(session, some, word), word)


def _batches(
    session: Session,
    arms: Sequence[Arm],
    prompts: Sequence[Prompt],
    word: GenerateWord,
    ragged: bool,
) -> list[list[int]]:
    """Prompts that go together: those whose positions are as many, and where it must be, of one
    length; as many as their keys and values leave room for."""
    named = [c.at.position for arm in arms for c in arm.changes if not c.at.position.whole]
    alike: dict[Any, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        counts = tuple(len(position.resolve(prompt)) for position in named)
        alike[counts, 0 if ragged else prompt.length].append(row)
    shapes = session.loaded.spec.shapes
    longest = max(prompt.length for prompt in prompts) + word.tokens
    of_token = 2 * shapes.n_layers * shapes.n_kv_heads * shapes.d_head
    bytes_each = len(arms) * longest * of_token * BYTES[session.loaded.dtype_name]
    size = min(WRITTEN_TOGETHER, chunk_rows(bytes_each, session.store.resident_bytes))
    return [rows[i : i + size] for rows in alike.values() for i in range(0, len(rows), size)]


class _Found:
    """New tokens by prompt and arm. They are kept beside the store of results as they are found,
    so that a run that was stopped goes on behind the last part."""

    def __init__(
        self, session: Session, keys: Sequence[str], prompts: Sequence[Prompt], arms: Sequence[Arm]
    ):
        self.checkpoints, self.arms = session.checkpoints(keys), arms
        said = json.dumps([list(prompt.ids) for prompt in prompts])
        self.of = hashlib.sha256(said.encode()).hexdigest()
        self.texts: dict[int, list[list[int]]] = {}
        found = self.checkpoints.load() if self.checkpoints is not None else None
        if found is not None and found[1].get("of") == self.of:
            self.texts = {int(row): texts for row, texts in found[1]["texts"].items()}
            for own, seen in zip(arms, found[1]["watched"], strict=True):
                for watch, (times, largest) in zip(own.watches, seen, strict=True):
                    watch.go_on(times, largest)

    def add(self, rows: Sequence[int], by_arm: Sequence[Sequence[list[int]]]) -> None:
        for place, row in enumerate(rows):
            self.texts[row] = [list(arm[place]) for arm in by_arm]
        if self.checkpoints is None:
            return
        read_changes(watch for arm in self.arms for watch in arm.watches)
        plain = {
            "what": f"texts of {len(self.texts)} prompts",
            "of": self.of,
            "texts": {str(row): texts for row, texts in self.texts.items()},
            "watched": [[(w.times, w.largest) for w in arm.watches] for arm in self.arms],
        }
        self.checkpoints.save({}, plain)

    def of_arm(self, arm: int) -> list[list[int]]:
        return [self.texts[row][arm] for row in range(len(self.texts))]


def _tokens(session: Session) -> Tokens:
    spec = session.loaded.spec
    assert spec.path is not None
    return Tokens.load(spec.path, spec.bos)


def _written(
    tokens: Tokens, prompts: Sequence[Prompt], found: list[list[int]], word: GenerateWord
) -> Written:
    texts = [text_behind(tokens, prompt, new) for prompt, new in zip(prompts, found, strict=True)]
    ended = [len(new) < word.tokens for new in found]
    return Written(tuple(map(tuple, found)), tuple(texts), tuple(ended))


def text_behind(tokens: Tokens, prompt: Prompt, new: Sequence[int]) -> str:
    """The text of new tokens, with the space that it has behind its prompt."""
    ids = [int(token) for token in prompt.ids]
    before, whole = tokens.decode(ids), tokens.decode([*ids, *new])
    return whole[len(before) :] if whole.startswith(before) else tokens.decode(new)


class Texts(Measured):
    """Numbers of texts by arm, and the texts that they are of."""

    written: dict[str, Written]


@evaluates(TextsWord)
def texts(here: Here[TextsWord]) -> dict[str, Any]:
    """Every metric of every arm."""
    session, arms = here.session, here.operation.inputs
    written: dict[str, Written] = {arm.role: session.values[arm.key] for arm in arms}
    base = session.graph.operation(arms[0].key).input("base")
    pairs, tokens = session.graph.pairs_of(base), _tokens(session)
    before = [tokens.decode(list(map(int, p.ids))) for p in session.graph.prompts_of(base)]
    runs = {name: Outcome(columns_of(here.word, own, before)) for name, own in written.items()}
    found = Texts(runs, Outcome({}), session.bootstrap(pairs))
    found.written = written
    for name, word, _ in here.word.metrics:
        found.add(_metric(name, TEXT_METRICS[word].rate))
    return found


def columns_of(word: TextsWord, written: Written, before: Sequence[str]) -> dict[str, Tensor]:
    """Numbers by prompt (n,) of each metric; ``before`` are the prompts."""
    found = {}
    for name, metric, of in word.metrics:
        made = TEXT_METRICS[metric](of=of)
        each = zip(written.texts, written.tokens, before, strict=True)
        numbers = [made.value(text, len(new), ahead) for text, new, ahead in each]
        found[name] = torch.tensor(numbers, dtype=torch.float64)
    return found


def _metric(name: str, rate: bool) -> Metric:
    """A metric that is the mean of the column of its name."""
    made: Metric = type(name, (Metric,), {"word": name, "needs": "vocabulary", "rate": rate})()
    return made


@evaluates(TextNumber)
def text_number(here: Here[TextNumber], texts: Texts) -> float:
    drawn: float = texts[here.word.arm][here.word.metric].drawn
    return drawn
