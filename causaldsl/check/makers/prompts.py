"""`corpus` and `sample`: prompts without answers."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.limits import Limits
from causaldsl.check.pairs import Prompt, PromptSet, check_length, prompt_set
from causaldsl.check.pairs import Sample as Sampled
from causaldsl.check.sources import read_lines
from causaldsl.diagnostics import Mistake, located
from causaldsl.vocabulary.makers import Corpus, Sample


@makes(Corpus)
def corpus(context: Context, word: Corpus, operands: Operands) -> PromptSet:
    """A prompt for every line that is not blank, or every text of a list."""
    written, span = operands["list"]
    with located(span):
        if isinstance(written, str):
            found = read_lines(context.path(written), written, "prompts")
        else:
            found, written = list(written), "this list"
        n_ctx = context.shapes(span).n_ctx
        lines = _lines(found, written, context.limits)
        tokens = context.tokens(span)
        prompts = [check_length(Prompt(line, tokens.encode(line).ids), n_ctx) for line in lines]
        return prompt_set("", prompts)


def _lines(found: list[str], written: str, limits: Limits) -> list[str]:
    lines = [line.strip() for line in found if line.strip()]
    if not lines:
        raise Mistake("empty-file", f"{written} has no prompts", "write one prompt a line")
    limits.check("prompts", len(lines), "too-many", f"{written} has {{}} prompts")
    first = {line: i for i, line in reversed(list(enumerate(lines)))}
    repeated = next((line for i, line in enumerate(lines) if first[line] != i), None)
    if repeated is not None:
        raise Mistake(
            "repeated-line",
            f"{written} has a prompt more than once: {repeated[:60]}",
            "it could stand in training and in what is held out; list it once",
        )
    return lines


@makes(Sample)
def sample(context: Context, word: Sample, operands: Operands) -> PromptSet:
    """As many prompts as the run will write; their tokens are not known yet."""
    n_ctx = context.shapes(operands["model"].span).n_ctx
    if word.length > n_ctx:
        raise Mistake(
            "bad-option",
            f"`length` of `sample` can't be {word.length}",
            f"it is a whole number from 2 to {n_ctx}",
        )
    model = context.program.model
    sampled = Sampled(word.n, word.length, word.seed, model.bos if model else None)
    blank = tuple([0] * sampled.length)
    prompts = [Prompt(f"text {i} of {sampled}", blank) for i in range(sampled.count)]
    return prompt_set("", prompts, sampled)
