"""`generate`: the texts of every arm, and the numbers of all of them."""

from __future__ import annotations

from causaldsl.check.generated import Generation
from causaldsl.check.values import Applied
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import Input, inputs_of
from causaldsl.vocabulary.generation import TextsWord


@compiles(Generation)
def generation(compiler: Compiler, generation: Generation) -> Made:
    pairs = generation.pairs
    base = Input(role="base", key=compiler.clean_run(pairs, "base"))
    arms: dict[str, str] = {}
    for run in generation.runs:
        how = generation.how.model_copy(update={"stages": run.stages})
        does = compiler.does((i for i in run.interventions if isinstance(i, Applied)), pairs)
        arms[run.name] = compiler.add(how, [base, *does], run.span)
        compiler.graph.called.setdefault(arms[run.name], f"{generation.name}.{run.name}")
    metrics = tuple((name, one.word, one.of) for name, one in generation.metrics)
    word = TextsWord(metrics=metrics)
    return Made("generate", compiler.add(word, inputs_of(arms), generation.span), arms)
