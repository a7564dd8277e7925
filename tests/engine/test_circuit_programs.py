"""Circuits in programs: what they are equal to, their numbers, and their files."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from causaldsl import api
from causaldsl.check.circuits import circuit_of
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Mistake, Source
from causaldsl.graph.compiler import compile_program
from causaldsl.model.circuit_files import circuit_json, read_circuit_file
from causaldsl.model.edges import Edge, all_edges, wiring_of
from causaldsl.model.sites import Site
from causaldsl.report.circuit_pictures import circuit_dot
from tests.tiny import NAMES, OBJECTS, tiny_folder

PROGRAM = """model lm = "tiny-llama"
pairs p = jsonl("pairs.jsonl", train: 0.5)
pairs one = jsonl("one.jsonl")
set nodes = {0.1, 1.2, 2.0, mlps[0], mlps[2]}
set some = {edge(embed, kv_head[1.0].v), edge(head[1.0].z, logits), edge(embed, head[2.2].q)}
sweep scan on p.train { for h in heads: patch head[h].z @ all  report logit_diff }

measure m on p.test {
  few = only nodes else source
  left = without nodes else mean
  mean = only nodes else mean(p.train.base)
  here = only {0.1, 1.2} @ END else zero
  edges = only some else source
  less = without some else mean
  of_nodes = only read_circuit("nodes.json") else source
  same = only nodes else source over {heads, mlps, embed}
  none = without edges else source
  nothing = without {heads, mlps, embed} else source
  whole = only edges else mean
  report logit_diff, prob
}
measure sources on back.test { x = patch resid_pre[0] @ all from base  report logit_diff }
sweep s on one {
  for k in {2, 4, 8}: only top(k, scan.logit_diff) else source
  report logit_diff, faithfulness
}
let cpr = area(s.faithfulness)
let cmd = area(s.faithfulness, to: 1)
"""


def rows(count: int) -> list[dict[str, str]]:
    return [
        {
            "base": f"The man gave {name}",
            "source": f"The boy gave {NAMES[i + 13]}",
            "answer": f" {OBJECTS[i % 10]}",
            "foil": f" {OBJECTS[(i + 3) % 10]}",
        }
        for i, name in enumerate(NAMES[:count])
    ]


def text(lines: list[Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("circuits")
    tiny_folder(found, "llama")
    (found / "pairs.jsonl").write_text(text(rows(8)))
    (found / "one.jsonl").write_text(text(rows(9)[8:]))
    back = [row | {"base": row["source"], "source": row["base"]} for row in rows(8)]
    (found / "back.jsonl").write_text(text(back))
    nodes = {Site("head.z", 0, 1), Site("head.z", 1, 2), Site("head.z", 2, 0)}
    nodes |= {Site("mlp_out", 0), Site("mlp_out", 2)}
    program = checked(found, "")
    assert program.model is not None
    written = circuit_json(nodes, program.model.shapes)
    del written["causaldsl"]  # as others write it: its edges, and not its nodes
    (found / "nodes.json").write_text(json.dumps(written))
    return found


def checked(folder: Path, more: str) -> Any:
    text = 'model lm = "tiny-llama"\npairs p = jsonl("pairs.jsonl", train: 0.5)\n' + more
    return Checker(Source("c", text), folder / "c.cpatch").check()


@pytest.fixture(scope="module", params=["cone", "hooks"])
def run(request: pytest.FixtureRequest, folder: Path) -> Any:
    program = PROGRAM.replace(
        "pairs one", 'pairs back = jsonl("back.jsonl", train: 0.5)\npairs one', 1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return api.run(
            program,
            backend=request.param,
            dtype="float64",
            out=folder / request.param,
            store="none",
        )


def numbers(run: Any, name: str, metric: str = "logit_diff") -> dict[str, float]:
    return {arm: found[metric].mean for arm, found in run.results.measures[name].items()}


def test_what_is_equal(run: Any) -> None:
    found = numbers(run, "m")
    assert found["none"] == pytest.approx(found["nothing"], abs=1e-9)
    assert found["whole"] == found["clean"]
    # All edges among nodes do what the nodes do.
    assert found["of_nodes"] == pytest.approx(found["few"], abs=1e-9)
    # Of the source's embedding nothing but the source's run can be made.
    assert found["same"] == pytest.approx(found["none"], abs=1e-9)
    arms = ("clean", "few", "left", "mean", "here", "edges", "less", "none")
    assert len({round(found[arm], 6) for arm in arms}) == len(arms)


def test_nothing_inside_is_the_outside_run(run: Any) -> None:
    """The answers are the base's, so that sources are run as bases with these."""
    found = numbers(run, "m"), numbers(run, "sources")
    assert found[0]["none"] == pytest.approx(found[1]["clean"], abs=1e-9)


def test_faithfulness_and_areas_by_hand(run: Any) -> None:
    measured, faithful = numbers(run, "s"), numbers(run, "s", "faithfulness")
    program = run.program
    sweep = program.measurements["s"]
    empty = run_of(run, "measure e on one { e = without heads else source  report logit_diff }")
    none = numbers(empty, "e")["e"]
    by_hand = {a: (x - none) / (measured["clean"] - none) for a, x in measured.items()}
    assert faithful == pytest.approx(by_hand, abs=1e-9)
    cells = [run.name for run in sweep.runs if run.coordinates]
    assert [circuit_of(one).fraction for one in sweep.runs[1:]] == [2 / 16, 4 / 16, 8 / 16]
    points = [(2 / 16, by_hand[cells[0]]), (4 / 16, by_hand[cells[1]])]
    points += [(8 / 16, by_hand[cells[2]]), (1.0, 1.0)]
    area = sum((b - a) * (y + z) / 2 for (a, y), (b, z) in itertools.pairwise(points))
    assert run.results.numbers["cpr"] == pytest.approx(area, abs=1e-9)
    apart = [(x, abs(1 - y)) for x, y in points]
    area = sum((b - a) * (y + z) / 2 for (a, y), (b, z) in itertools.pairwise(apart))
    assert run.results.numbers["cmd"] == pytest.approx(area, abs=1e-9)


def run_of(run: Any, more: str) -> Any:
    folder = run.folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        begin = 'model lm = "tiny-llama"\npairs one = jsonl("one.jsonl")\n'
        return api.run(begin + more, dtype="float64", store="none")


def test_what_a_run_leaves(run: Any, folder: Path) -> None:
    record = run.results.circuits["m"]["few"]
    assert (record.size, record.universe, record.over) == (5, 20, "heads, mlps")
    assert "mlp_out[2] @ all" in record.parts
    assert run.results.circuits["m"]["edges"].universe == len(all_edges(run.program.model.shapes))
    dot = circuit_dot(run.results.circuits["m"]["edges"], "m.edges", "tiny-llama")
    for line in ('embed -> "kv 1.0" [label=v]', "embed -> 2.2 [label=q]", "1.0 -> logits"):
        assert line in dot
    assert "3 of 343 (edges), outside source" in dot
    shapes = run.program.model.shapes
    nodes, edges = read_circuit_file(run.folder / "circuits" / "m.edges.json", "x", shapes)
    assert {str(edge) for edge in edges} == set(run.results.circuits["m"]["edges"].parts)
    assert Site("head.z", 1, 0) in nodes


def test_a_circuit_of_nodes_is_its_interventions(folder: Path) -> None:
    program = checked(
        folder,
        "set c = {0.1, mlps[2]}\n"
        "measure a on p.test { x = only c else source  report fldd }\n"
        "measure b on p.test { x = patch head[heads except {0.1}].z @ all + "
        "patch mlp_out[{0, 1, 3}] @ all  report fldd }\n"
        "measure d on p.test { x = without c else mean  report fldd }\n"
        "measure e on p.test { x = ablate {head[0.1].z, mlp_out[2]} @ all to mean  report fldd }\n",
    )
    graph = compile_program(program)
    for one, other in ("ab", "de"):
        keys = [sorted(graph.operation(graph.arm(n, "x")).inputs_as("do")) for n in (one, other)]
        assert keys[0] == keys[1]


@pytest.mark.parametrize("by", ["kind", "layer"])
def test_a_random_set_has_as_many_of_each_kind(folder: Path, by: str) -> None:
    more = "set c = {0.1, 0.2, 3.1, mlps[1]}\n" + "".join(
        f"measure m{seed} on p.test {{ x = only random_like(c, seed: {seed}, by: {by}) else mean"
        "  report fldd }\n"
        for seed in range(4)
    )
    drawn = []
    for measurement in checked(folder, more).measurements.values():
        circuit = circuit_of(measurement.runs[1])
        assert circuit is not None
        drawn.append({part.site for part in circuit.inside})
        kinds = Counter(s.kind if by == "kind" else (s.kind, s.layer) for s in drawn[-1])
        like = [
            Site("head.z", 0, 1),
            Site("head.z", 0, 2),
            Site("head.z", 3, 1),
            Site("mlp_out", 1),
        ]
        assert kinds == Counter(s.kind if by == "kind" else (s.kind, s.layer) for s in like)
    assert len({frozenset(one) for one in drawn}) > 1


def test_a_file_must_agree_on_shared_keys(folder: Path) -> None:
    shapes = checked(folder, "").model.shapes
    inside = [
        Edge(Site("embed"), Site("kv_head.k", 2, 1)),
        Edge(Site("mlp_out", 0), Site("logits")),
    ]
    written = circuit_json(inside, shapes)
    assert set(written["edges"]) == {"input->a2.h2<k>", "input->a2.h3<k>", "m0->logits"}
    path = folder / "shared.json"
    path.write_text(json.dumps(written))
    assert set(read_circuit_file(path, "x", shapes)[1]) == set(inside)
    written["edges"]["input->a2.h3<k>"]["in_graph"] = False
    path.write_text(json.dumps(written))
    with pytest.raises(Exception, match="for 1 of the 2 heads that share"):
        read_circuit_file(path, "x", shapes)


CFG = {"n_layers": 4, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 32}
IN, OUT = {"in_graph": True}, {"in_graph": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": {"a0.h1->a1.h2": IN}}, "names an edge `a0.h1->a1.h2`"),
        ({"edges": {"a0.h1->m2<k>": IN}}, "names an edge `a0.h1->m2<k>`"),
        ({"edges": {"a1.h2->logits<q>": IN}}, "names an edge `a1.h2->logits<q>`"),
        ({"edges": {"m0->logits": {"in_graph": "false"}}}, "is no circuit"),
        ({"edges": {"m0->logits": {"in_graph": None}}}, "is no circuit"),
        ({"nodes": {"a00.h1": IN}}, "names a node `a00.h1`"),
        (
            {"nodes": {"m0": OUT}},
            "has edge(mlp_out[0], logits) in the circuit, and one of its nodes out",
        ),
        ({"nodes": {"m0": IN | {"neurons": [True, False]}}}, "some of its dimensions alone"),
        ({"cfg": CFG | {"n_layers": 2}}, "with n_layers 2, and tiny-llama has 4"),
        ({"cfg": CFG | {"parallel_attn_mlp": True}}, "parallel_attn_mlp True"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    shapes, path = checked(folder, "").model.shapes, folder / "said.json"
    good: dict[str, Any] = {"cfg": CFG, "nodes": {"m0": IN}, "edges": {"m0->logits": IN}}
    path.write_text(json.dumps(good))
    assert read_circuit_file(path, "x", shapes)[1] == [Edge(Site("mlp_out", 0), Site("logits"))]
    path.write_text(json.dumps(good | changes))
    with pytest.raises(Mistake, match=re.escape(message)):
        read_circuit_file(path, "x", shapes)


def test_a_name_that_stands_twice_is_refused(folder: Path) -> None:
    path = folder / "twice.json"
    path.write_text('{"nodes": {"m0": true, "m0": false}, "edges": {}}')
    with pytest.raises(Mistake, match="is no circuit"):
        read_circuit_file(path, "x", checked(folder, "").model.shapes)


def test_all_edges_are_counted_as_others_count_them(folder: Path) -> None:
    """Before each receiver: the embedding, all heads and MLPs of earlier layers, and for an MLP the
    heads of its own layer (EAP-IG's graph, but for keys and values that heads share)."""
    shapes = checked(folder, "").model.shapes
    layers, heads, shared = shapes.n_layers, shapes.n_heads, shapes.n_kv_heads
    wanted = 1 + layers * (heads + 1)  # to the logits
    for layer in range(layers):
        before = 1 + layer * (heads + 1)
        wanted += before * (heads + 2 * shared) + before + heads
    assert wiring_of(None, shapes).count == wanted == len(all_edges(shapes))


def test_a_trace_leaves_a_graph_that_others_read(folder: Path) -> None:
    """Every field that circuit-tracer's models ask for, and links between nodes that are there."""
    more = "trace t = patch head[0.1].z @ END to logit_diff on p.test { top 3  at END }\n"
    text = 'model lm = "tiny-llama"\npairs p = jsonl("pairs.jsonl", train: 0.5)\n' + more
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = api.run(text, out=folder / "traced", store="none")
    graph = json.loads((folder / "traced" / "graphs" / "t.json").read_text())
    asked = {"slug", "scan", "transcoder_list", "prompt_tokens", "prompt"}
    assert asked <= graph["metadata"].keys()
    assert {"pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"} <= graph["qParams"].keys()
    ids = [node["node_id"] for node in graph["nodes"]]
    assert len(set(ids)) == len(ids)
    for node in graph["nodes"]:
        assert {"feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"} <= node.keys()
        assert 0 <= node["ctx_idx"] < len(graph["metadata"]["prompt_tokens"])
    record = run.results.traces["t"]
    assert {link["source"] for link in graph["links"]} | {
        link["target"] for link in graph["links"]
    } <= set(ids)
    weights = sorted(link["weight"] for link in graph["links"])
    assert weights == sorted(edge.effect.mean for edge in record.edges)


FILED = """model lm = "tiny-llama"
pairs p = jsonl("pairs.jsonl", train: 0.5)
set c = {0.1, 1.2, mlps[2]}
measure m on p.test {
  all = only c else source
  heads = only {0.1, 1.2} else source
  rest = without c else source
  embedded = only {embed, 1.2, mlps[0]} else source
  cut_off = without {embed, 1.2} else source
  lacks = without {mlps, 1.2} else source
  edges = only {edge(embed, head[1.2].q), edge(head[1.2].z, logits)} else source
  report logit_diff
}
"""
OF_NODES = {
    "all": {"head[0.1].z", "head[1.2].z", "mlp_out[2]"},
    "heads": {"head[0.1].z", "head[1.2].z"},
    "embedded": {"embed", "head[1.2].z", "mlp_out[0]"},
}


def test_a_circuit_of_a_run_reads_back_as_it_was(folder: Path) -> None:
    """A set of nodes is the same set; where its nodes don't tell it, its edges do the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = api.run(FILED, dtype="float64", out=folder / "filed", store="none")
        wanted = numbers(run, "m")
        arms = "".join(
            f'  {arm} = only read_circuit("filed/circuits/m.{arm}.json") else source\n'
            for arm in wanted
            if arm != "clean"
        )
        begin = FILED.partition("set c")[0]
        again = api.run(f"{begin}measure m on p.test {{\n{arms}  report logit_diff }}\n",
                        dtype="float64", store="none")  # fmt: skip
    assert numbers(again, "m") == pytest.approx(wanted, abs=1e-9)
    assert len({round(number, 6) for number in wanted.values()}) == len(wanted)
    assert run.program.model is not None
    for arm in wanted.keys() - {"clean"}:
        path = folder / "filed" / "circuits" / f"m.{arm}.json"
        nodes, edges = read_circuit_file(path, "x", run.program.model.shapes)
        if arm in OF_NODES:
            assert ({str(node) for node in nodes}, edges) == (OF_NODES[arm], [])
        assert bool(edges) == (arm in ("cut_off", "lacks", "edges"))
    inside = {part.partition(" @")[0] for part in run.results.circuits["m"]["rest"].parts}
    (said,) = [note for note in again.results.notes if "m.rest.json" in note]
    assert said == f"filed/circuits/m.rest.json: a circuit of {len(inside)} nodes"
    assert not inside & OF_NODES["all"]


def test_a_circuit_of_nodes_that_others_changed_is_one_of_edges(folder: Path) -> None:
    """What EAP-IG writes has no key of ours; one that was pruned since has other edges."""
    shapes, path = checked(folder, "").model.shapes, folder / "changed.json"
    written = circuit_json({Site("head.z", 0, 1), Site("head.z", 2, 0)}, shapes)
    path.write_text(json.dumps(written))
    assert read_circuit_file(path, "x", shapes)[1] == []
    theirs = {name: value for name, value in written.items() if name != "causaldsl"}
    path.write_text(json.dumps(theirs))
    edges = read_circuit_file(path, "x", shapes)[1]
    assert len(edges) > 2
    written["edges"]["a2.h0->logits"]["in_graph"] = False
    path.write_text(json.dumps(written))
    pruned = read_circuit_file(path, "x", shapes)[1]
    assert set(edges) - set(pruned) == {Edge(Site("head.z", 2, 0), Site("logits"))}


@pytest.mark.parametrize("over", [["attn_out"], "heads", 3, None])
def test_a_key_of_ours_that_says_nothing_is_refused(folder: Path, over: Any) -> None:
    path = folder / "said.json"
    path.write_text(json.dumps({"nodes": {"m0": IN}, "edges": {}, "causaldsl": {"over": over}}))
    with pytest.raises(Mistake, match="is no circuit"):
        read_circuit_file(path, "x", checked(folder, "").model.shapes)


def test_a_file_without_edges_has_nodes(folder: Path) -> None:
    shapes, path = checked(folder, "").model.shapes, folder / "bare.json"
    path.write_text(json.dumps({"nodes": {"a0.h1": IN, "m3": OUT, "m1": True}}))
    assert read_circuit_file(path, "x", shapes) == ([Site("head.z", 0, 1), Site("mlp_out", 1)], [])
    path.write_text(json.dumps({"edges": {"m0->logits": IN}}))
    with pytest.raises(Mistake, match='is no circuit: it has no "nodes"'):
        read_circuit_file(path, "x", shapes)
