"""What passes hold, as it is reckoned before a run, against what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.engine import circuits
from causaldsl.engine.attribution.gradients import Rows
from causaldsl.engine.cone.writer import ConeWriter
from causaldsl.engine.dictionaries.load import code_of
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.chunks import CONE_TOKENS
from causaldsl.plan.holding import estimates_of, of_dictionaries, of_passes
from tests.frontend.test_graph import check
from tests.frontend.world import PRELUDE, make_world

BUDGET = 2**30


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("holding"))


def opened(text: str, world: Path) -> Session:
    program = check(PRELUDE + text + "\n", world)
    graph = compile_program(program)
    return open_session(program, graph, Settings(resamples=20), lambda *_: None)


def reckoned(session: Session) -> int:
    shapes = session.loaded.spec.shapes
    return of_passes(session.graph, session.plan, shapes, "float32", BUDGET)


def test_keys_and_values_of_texts(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(
        'prompts said = corpus("texts.txt")\n'
        "generate g on said { a = base  b = ablate resid_post[1] @ all to zero along "
        "random(resid_post[1] @ END)  tokens 6  report length }",
        world,
    )
    writers: list[ConeWriter] = []
    before = ConeWriter.begin

    def begin(writer: ConeWriter, edits: Any) -> Tensor:
        writers.append(writer)
        return before(writer, edits)

    monkeypatch.setattr(ConeWriter, "begin", begin)
    interpret(session)
    (writer,) = writers
    kept = sum(t.nbytes for t in [*writer._keys.values(), *writer._values.values()])
    logits = 2 * len(writer.lengths) * session.loaded.spec.shapes.d_vocab * 4
    assert reckoned(session) == kept + logits


def test_weights_of_a_dictionary_count_once(world: Path) -> None:
    session = opened(
        'dictionary f = sae("sae") at resid_post[1]\n'
        "measure m on flip.test {\n  a = patch f.features @ END\n"
        "  b = patch f.features[{1, 2}] @ END\n  report fldd\n}",
        world,
    )
    interpret(session)
    code = code_of(session, next(iter(_dictionaries(session))))
    assert of_dictionaries(session.graph, "float32") == code.W_enc.nbytes + code.rows.nbytes
    double = of_dictionaries(session.graph, "float64")
    assert double == 2 * of_dictionaries(session.graph, "bfloat16")


def _dictionaries(session: Session) -> set[Any]:
    operations = [session.graph.operation(key) for key in session.graph.network]
    return {one.at.site.dictionary for one in operations if one.at is not None} - {None}


@pytest.mark.parametrize(
    "over", ["over heads, mlps", "edges", "over mlp_hidden[2] @ END  by neuron", "over f.features"]
)
def test_estimates_of_all_pairs(over: str, world: Path) -> None:
    over = "over f.features @ END" if "features" in over else over
    text = 'dictionary f = sae("sae") at resid_post[1]\n'
    session = opened(f"{text}attribution a to logit_diff on flip.train {{ {over} }}", world)
    interpret(session)
    key = session.graph.key_of("a")
    shapes = session.loaded.spec.shapes
    found = estimates_of(session.graph, session.graph.operation(key), shapes)
    assert found == session.values[key].estimates.nbytes


def test_differences_of_edges(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By position, of which fewer go together the more senders there are."""
    session = opened("measure m on flip.test { a = without edges else source  report fldd }", world)
    held: list[tuple[int, int, int]] = []
    before = circuits.Wires._sum

    def summed(wires: circuits.Wires, last: Any) -> None:
        before(wires, last)
        kept = wires._differences
        inputs = sum(one.nbytes for one in wires._inputs.values())
        positions = kept.shape[1] * kept.shape[2]
        held.append(((kept.nbytes + inputs) // positions, wires.spread, positions))

    monkeypatch.setattr(circuits.Wires, "_sum", summed)
    interpret(session)
    most = max(held)
    at_once = CONE_TOKENS // most[1]
    assert most[0] * at_once <= reckoned(session) <= 1.5 * most[0] * at_once


@pytest.mark.parametrize("over", ["over heads, mlps", "over heads[2..3]", "edges"])
def test_what_is_remembered_for_the_way_back(
    over: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage that autograd keeps, and a leaf with its gradient at each site."""
    session = opened(f"attribution a to logit_diff on flip.train {{ {over} }}", world)
    kept: dict[int, int] = {}
    before = Rows.back

    def back(rows: Rows, arms: Any) -> Any:
        def pack(x: Tensor) -> Tensor:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            found = before(rows, arms)
        for one in found:
            kept.update((id(x), 2 * x.nbytes) for x in one.gradients.values())
            gradients.append(found)
        return found

    gradients: list[Any] = []
    monkeypatch.setattr(Rows, "back", back)
    interpret(session)
    assert sum(kept.values()) < reckoned(session) < 2 * sum(kept.values())
