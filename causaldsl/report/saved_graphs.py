"""A trace as a graph that circuit-tracer and Neuronpedia show (their JSON, version 1).

Nodes are the components of the trace at their tokens in the first base, its tokens, and the
logits; links are the edges that were measured, with the effect under the intervention as weight.
What is patched is a node too. There are no features, and so no transcoders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.pairs import Prompt
from causaldsl.check.places import PositionRef
from causaldsl.diagnostics import Mistake
from causaldsl.model.tokens import Tokens
from causaldsl.results.records import Results
from causaldsl.results.routes import TraceNode, TraceRecord


def write_graphs(folder: Path, program: CheckedProgram, results: Results) -> None:
    """A file for each trace on text; the folder is there only if there is one."""
    if program.tokens is None or program.model is None:
        return
    for name, record in results.traces.items():
        folder.mkdir(exist_ok=True)
        base = program.traces[name].pairs.pairs[0].base
        model, layers = program.model.name, program.model.shapes.n_layers
        graph = graph_json(name, record, base, program.tokens, model, layers)
        (folder / f"{name}.json").write_text(json.dumps(graph, indent=1) + "\n", "utf-8")


def graph_json(
    name: str, record: TraceRecord, base: Prompt, tokens: Tokens, model: str, layers: int
) -> dict[str, Any]:
    """The graph of a trace whose first prompt is ``base``."""
    ids = [int(token) for token in base.ids]
    embedded = [
        _node(f"E_{token}_{at}", at, "E", at, "embedding", tokens.piece(token))
        for at, token in enumerate(ids)
    ]
    traced = [_component(node, base, layers, record) for node in record.nodes]
    named = {node.id: made["node_id"] for node, made in zip(record.nodes, traced, strict=True)}
    return {
        "metadata": {
            "slug": name,
            "scan": model,
            "transcoder_list": [],
            "prompt_tokens": [tokens.piece(token) for token in ids],
            "prompt": base.text,
            "node_threshold": None,
            "schema_version": 1,
        },
        "qParams": {
            "pinnedIds": list(named.values()),
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [*embedded, *traced],
        "links": [
            {
                "source": named[edge.sender],
                "target": named[edge.receiver],
                "weight": edge.effect.mean,
            }
            for edge in record.edges
        ],
    }


def _component(node: TraceNode, base: Prompt, layers: int, record: TraceRecord) -> dict[str, Any]:
    """A head is numbered by its head, an MLP by -1; the logits stand behind the last layer."""
    last, share = base.length - 1, None if node.share is None else node.share.mean
    if node.kind == "logits":
        layer = str(layers + 1)
        made = _node(f"{layer}_0_{last}", 0, layer, last, "logit", record.metric)
        return made | {"is_target_logit": True}
    if node.kind == "intervention":
        return _node("patch", -1, "E", last, "intervention", record.does)
    at, number = _index(node.position, base), -1 if node.head is None else node.head
    said = f"{'MLP' if node.head is None else 'head'} {node.id}"
    what = "mlp" if node.head is None else "attention head"
    made = _node(f"{node.layer}_{number}_{at}", number, str(node.layer), at, what, said)
    return made | {"influence": share}


def _index(position: str, base: Prompt) -> int:
    try:
        return PositionRef.parse(position).resolve(base)[-1]
    except Mistake:
        return base.length - 1


def _node(name: str, feature: int, layer: str, at: int, kind: str, said: str) -> dict[str, Any]:
    return {
        "node_id": name,
        "feature": feature,
        "layer": layer,
        "ctx_idx": at,
        "feature_type": kind,
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": name,
        "clerp": said,
        "influence": None,
        "activation": None,
    }
