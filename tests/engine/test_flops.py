"""The arithmetic that the plan counts, against torch's own count of the real passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from causaldsl.engine.backend import CleanPass, Logits, Losses, Pass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.model.sites import Site
from causaldsl.plan.entries import entry_of, expected_backend, last_block
from causaldsl.plan.flops import (
    backward_flops,
    clean_flops,
    shared_flops,
    tail_flops,
    unembed_flops,
    whole_flops,
)
from causaldsl.plan.freeze import Freeze
from causaldsl.plan.prefixes import shared_parts
from causaldsl.plan.work import work_of
from tests.engine.conftest import LENGTH, Parties
from tests.frontend.test_graph import check
from tests.frontend.world import PRELUDE, make_world

N, END = 3, LENGTH - 1
SITES = [
    Site("embed"),
    Site("resid_pre", 1),
    Site("head.z", 1, 2),
    Site("head.out", 2, 1),
    Site("attn_out", 2),
    Site("resid_mid", 2),
    Site("mlp_hidden", 1),
    Site("mlp_out", 3),
    Site("resid_post", 0),
    Site("resid_post", 3),
]


def counted(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def at(position: int) -> torch.Tensor:
    return torch.full((N, 1), position)


def edit(trio: Parties, site: Site, position: int) -> Edit:
    width = site.width(trio.shapes)
    return Edit(site, at(position), torch.randn(N, 1, width or 0, dtype=torch.float64))


def skip_without_cone(trio: Parties) -> None:
    if "cone" not in trio.backends:
        pytest.skip(f"{trio.family} runs on hooks only")


@pytest.mark.parametrize("site", SITES, ids=str)
@pytest.mark.parametrize("position", [END, 3], ids=["END", "middle"])
@pytest.mark.parametrize("columns", [None, 2])
def test_tail(trio: Parties, site: Site, position: int, columns: int | None) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    clean = cone.clean(CleanPass(trio.base, (), [Read(site, at(position))]))
    change, chosen = edit(trio, site, position), None
    if columns is not None:
        chosen = torch.randint(shapes.d_vocab, (N, columns))
    found = counted(lambda: logits_of(cone, clean, [change], chosen))
    window = LENGTH - position
    one = tail_flops(
        shapes, entry_of(site, shapes.n_layers), window, position, columns, touched=[site]
    )
    assert found == N * one > 0


@pytest.mark.parametrize(
    ("change", "read", "freeze"),
    [
        (Site("head.z", 0, 1), Site("head.q", 2, 0), Freeze(attention=True, mlp=True)),
        (Site("head.out", 0, 1), Site("mlp_in", 3), Freeze(attention=True, mlp=True, norms=True)),
        (Site("mlp_hidden", 1), Site("head.q", 3, 0), Freeze(attention=True, norms=True)),
        (Site("resid_post", 0), Site("mlp_hidden", 2), Freeze(mlp=True)),
        (Site("head.q", 1, 0), Site("head.q", 3, 1), Freeze(attention=True, mlp=True)),
        (Site("head.z", 1, 3), Site("mlp_out", 2), None),
    ],
    ids=str,
)
def test_hop(trio: Parties, change: Site, read: Site, freeze: Freeze | None) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    places = [Read(change, at(3)), Read(read, at(END))]
    clean = cone.clean(CleanPass(trio.base, (), places, frozen=freeze is not None))
    changed = edit(trio, change, 3)
    found = counted(lambda: activations_of(cone, clean, [changed], places[1:], hold=freeze))
    freed = freeze and freeze.freeing([change], shapes)
    one = tail_flops(
        shapes,
        min(entry_of(site, shapes.n_layers) for site in (change, read)),
        LENGTH - 3,
        3,
        last=last_block([read], shapes.n_layers),
        freeze=freed,
        touched=[change, read],
    )
    assert found == N * one > 0


@pytest.mark.parametrize("last", [None, 1])
def test_clean(trio: Parties, last: int | None) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    reads = [] if last is None else [Read(Site("resid_post", last), at(END))]
    found = counted(
        lambda: cone.clean(CleanPass(trio.base, reads, logits=Logits() if last is None else None))
    )
    assert found == clean_flops(shapes, [LENGTH] * N, last) > 0
    clean = cone.clean(CleanPass(trio.base))
    assert counted(lambda: logits_of(cone, clean)) == N * unembed_flops(shapes, None)


@pytest.mark.parametrize("last", [None, 1])
def test_shared_prefixes(trio: Parties, last: int | None) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    tokens, lengths = trio.base.clone(), torch.tensor([LENGTH, LENGTH, LENGTH - 2])
    tokens[:, :3], tokens[1, :6] = tokens[0, :3], tokens[0, :6]
    rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
    parts = shared_parts([tuple(ids[:length]) for ids, length in rows])
    assert parts is not None
    reads = [] if last is None else [Read(Site("resid_post", last), lengths[:, None] - 1)]
    asked = Logits() if last is None else None
    found = counted(lambda: cone.clean(CleanPass(tokens, reads, lengths=lengths, logits=asked)))
    apart = clean_flops(shapes, lengths.tolist(), last)
    assert found == shared_flops(shapes, parts, last) < 0.7 * apart


def test_the_plan_expects_the_cone_where_it_can_serve(trio: Parties) -> None:
    served = "cone" in trio.backends
    assert expected_backend(trio.shapes)([]) == ("cone" if served else "hooks")
    assert expected_backend(trio.shapes)([Site("hook", hook="hook_embed")]) == "hooks"


def test_a_ragged_batch_computes_no_less_than_is_counted(trio: Parties) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    lengths, site = torch.tensor([LENGTH, 4, 5]), Site("resid_post", 0)
    clean = cone.clean(CleanPass(trio.base, (), [Read(site, lengths[:, None] - 1)], lengths))
    change = Edit(site, lengths[:, None] - 1, torch.randn(N, 1, shapes.d_model).double())
    found = counted(lambda: logits_of(cone, clean, [change]))
    entry = entry_of(site, shapes.n_layers)
    needed = sum(tail_flops(shapes, entry, 1, int(length) - 1) for length in lengths)
    assert needed <= found < 1.1 * needed


@pytest.mark.parametrize("site", [Site("resid_post", 1), Site("mlp_hidden", 1)], ids=str)
@pytest.mark.parametrize("position", [END, 3], ids=["END", "middle"])
def test_gradients(trio: Parties, site: Site, position: int) -> None:
    skip_without_cone(trio)
    cone, shapes = trio.backends["cone"], trio.shapes
    clean = cone.clean(CleanPass(trio.base, (), [Read(site, at(position))]))
    change = edit(trio, site, position)
    change.value.requires_grad_()

    def loss() -> torch.Tensor:
        return cone.run(Pass(clean, [[change]], Losses(torch.zeros(N, dtype=torch.long)))).sum()

    forward = counted(lambda: logits_of(cone, clean, [change]))
    both = counted(lambda: torch.autograd.grad(loss(), change.value))
    entry, window = entry_of(site, shapes.n_layers), LENGTH - position
    assert both - forward == N * backward_flops(shapes, entry, window, position)


def test_whole_passes_are_those_of_the_hooks_backend(trio: Parties) -> None:
    hooks, shapes = trio.backends["hooks"], trio.shapes
    clean = hooks.clean(CleanPass(trio.base))
    change = edit(trio, Site("resid_post", 1), END)
    assert counted(lambda: logits_of(hooks, clean, [change])) == whole_flops(shapes, [LENGTH] * N)


PROGRAMS = {
    "das": "subspace v = das(resid_post[1] @ END, on: flip.train, epochs: 2)",
    "gradients": """
subspace b = best_neurons(mlp_hidden[2] @ END, on: flip.train, k: 3)
subspace g = gradient(mlp_hidden[2] @ END, on: flip.train)
""",
    "runs": """
measure m on flip.test {
  a = patch resid_post[1] @ END
  b = patch mlp_hidden[2] @ S2
  report fldd, interchange_accuracy
}
""",
    "paths": """
measure m on flip.test {
  a = head[0.1].z @ S2 -> heads[2].q @ END -> logits { freeze all  layernorm recompute }
  b = head[0.1].z @ S2 -> logits { freeze all  layernorm frozen }
  report fldd
}
""",
    "sweep": "sweep s on flip.test { for l in layers: patch resid_post[l] @ END  report fldd }",
}


DICTIONARY = 'dictionary f = sae("sae") at resid_post[1]\n'
WRITTEN = 'prompts said = corpus("texts.txt")\n'
BESIDE = {
    "attribution": "attribution a to logit_diff on flip.train { over heads, mlps }",
    "attribution in steps": "attribution a to prob on flip.train { over heads, mlps  steps 3 }",
    "layer by layer": "attribution a to logit_diff on flip.train { over heads, mlps  steps 3  "
    "integrate activations }",
    "edges": "attribution a to logit_diff on flip.train { edges }",
    "edges in steps": "attribution a to logit_diff on flip.train { edges  steps 3  check 4 }",
    "some edges": "attribution a to logit_diff on flip.train { over heads[2..3], mlps  edges }",
    "circuit": "measure m on flip.test { a = only {0.1, 1.2, mlps[0]} else source  report fldd }",
    "circuit of edges": "set c = {edge(embed, mlp_in[0]), edge(mlp_out[0], head[2.0].q)}\n"
    "measure m on flip.test { a = only c else source  b = without c else mean  report fldd }",
    "features": DICTIONARY + "measure m on flip.test { a = patch f.features @ all  report fldd }",
    "estimated features": DICTIONARY
    + "attribution a to logit_diff on flip.train { over f.features @ END }",
    "learned features": DICTIONARY
    + "subspace v = das(f.features @ END, on: flip.train, epochs: 2)\n"
    + "subspace w = mask(f.features @ END, on: flip.train, epochs: 2)",
    "best features": DICTIONARY
    + "subspace v = best_features(f.features @ END, k: 2, on: flip.train)",
    "explained": DICTIONARY + "let v = variance_explained(f.features @ all, on: flip.train)",
    "transcoder": 'dictionary t = transcoder("transcoder") at mlp_in[1] -> mlp_out[1]\n'
    "measure m on flip.test { a = patch t.features @ all  report fldd }",
    "texts": WRITTEN
    + "generate g on said { a = base  b = ablate resid_post[1] @ all to zero along "
    "random(resid_post[1] @ END)  tokens 6  report text }",
    "one new token": WRITTEN + "generate g on said { a = base  tokens 1  report text }",
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_edges_dictionaries_and_texts_take_is_in_the_plan(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Within 5%: the way back is counted as going through all of the first block."""
    planned, found = planned_and_counted(BESIDE[name], tmp_path_factory.mktemp("world"))
    assert 0.95 * planned < found < 1.05 * planned


def planned_and_counted(text: str, folder: Path) -> tuple[int, int]:
    program = check(PRELUDE + text + "\n", make_world(folder))
    graph = compile_program(program)
    session = open_session(program, graph, Settings(resamples=20), lambda *_: None)
    works = work_of(graph, session.plan, session.loaded.spec.shapes)
    return sum(work.flops for work in works), counted(lambda: interpret(session))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_plan_of_a_program_counts_what_its_run_computes(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    planned, found = planned_and_counted(PROGRAMS[name], tmp_path_factory.mktemp("world"))
    # On top of it come patches along a subspace, and filling up shorter prompts.
    assert planned <= found < 1.05 * planned
