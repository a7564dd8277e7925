"""What writing texts asks of the model."""

from __future__ import annotations

from causaldsl.check.pairs import Sample
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.request import Asked, plans, sites_of
from causaldsl.plan.rules import places_changed_in, values_taken
from causaldsl.vocabulary.generation import GenerateWord


@plans(GenerateWord)
def generated(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """Every token of the prompts, and every new one but the last; keys and values are kept.

    Arms go together (``work.py`` counts their passes).
    """
    word, base = operation.word, operation.input("base")
    assert isinstance(word, GenerateWord)
    lengths = [prompt.length for prompt in graph.prompts_of(base)]
    length = round(sum(lengths) / len(lengths)) + word.tokens
    return Asked(
        records=values_taken(graph, operation),
        sites=sites_of(places_changed_in(graph, operation)),
        mark=(base, str(word.model_copy(update={"stages": ()}).identity())),
        writes=Sample(len(lengths), length, word.seed),
    )
