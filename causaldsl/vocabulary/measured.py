"""The metrics of the language: formula, unit and sign of each."""

from __future__ import annotations

from causaldsl.vocabulary.metrics import (
    EMPTY,
    SOURCE,
    Columns,
    Metric,
    Seen,
    Tensor,
    metric,
)


@metric
class LogitDiff(Metric):
    """Mean of logit(answer of base) - logit(foil of base).

    Of sets it is the mean logit of the answers minus that of the foils. Where answers may have
    several tokens (`answers: whole`), it is log P(answer) - log P(foil) of the whole continuations,
    which is the same number where both are one token.
    """

    word = "logit_diff"
    option = True
    of_continuations = True
    of_sets = True
    needs = "answers"
    unit = "logits"


@metric
class Fldd(Metric):
    """Fractional logit difference decrease: 1 - mean(LD patched) / mean(LD clean)."""

    word = "fldd"
    of_continuations = True
    of_sets = True
    needs = "answers"
    of_clean = 0.0
    unit = "fraction"
    headline = 1
    undefined = "the mean logit difference of the clean run may be 0"

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return run["logit_diff"], clean["logit_diff"]

    def value(self, *means: Tensor) -> Tensor:
        patched, clean = means
        return 1 - patched / clean

    def divisor(self, *means: Tensor) -> Tensor:
        return means[1]

    def change(self, *columns: Tensor) -> Tensor:
        patched, clean = columns
        return patched - clean


@metric
class Recovered(Metric):
    """How far the logit difference has gone from that of the base, 0, to that of the source, 1.

    (mean(LD patched) - mean(LD base)) / (mean(LD source) - mean(LD base)), always of the base's
    answer and foil.
    """

    word = "recovered"
    needs = "answers"
    of_sets = True
    of_source = True
    of_clean = 0.0
    unit = "fraction"
    headline = 1
    undefined = "bases and sources may have the same mean logit difference"

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return run["logit_diff"], clean["logit_diff"], clean[SOURCE]

    def value(self, *means: Tensor) -> Tensor:
        patched, base, source = means
        return (patched - base) / (source - base)

    def divisor(self, *means: Tensor) -> Tensor:
        _, base, source = means
        return source - base

    def change(self, *columns: Tensor) -> Tensor:
        patched, base, _ = columns
        return patched - base


@metric
class Faithfulness(Metric):
    """How much of the logit difference a circuit keeps: 0 as with nothing inside, 1 as the model.

    (mean(LD circuit) - mean(LD empty)) / (mean(LD clean) - mean(LD empty)), of runs by `only` and
    `without`; the empty circuit has everything outside that these could have (Mueller et al. 2025).
    """

    word = "faithfulness"
    needs = "answers"
    of_sets = True
    of_empty = True
    of_clean = 1.0
    unit = "fraction"
    headline = 1
    undefined = "the model may do no better than the empty circuit"

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return run["logit_diff"], clean["logit_diff"], run[EMPTY]

    def value(self, *means: Tensor) -> Tensor:
        circuit, clean, empty = means
        return (circuit - empty) / (clean - empty)

    def divisor(self, *means: Tensor) -> Tensor:
        _, clean, empty = means
        return clean - empty

    def change(self, *columns: Tensor) -> Tensor:
        circuit, clean, _ = columns
        return circuit - clean


@metric
class FlipRate(Metric):
    """Share of pairs whose logit difference changes sign."""

    word = "flip_rate"
    of_continuations = True
    of_sets = True
    needs = "answers"
    of_clean = 0.0
    unit = "share"
    rate = True

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return ((run["logit_diff"] * clean["logit_diff"] < 0).double(),)


@metric
class PositiveRate(Metric):
    """Share of pairs with a logit difference above 0."""

    word = "positive_rate"
    of_continuations = True
    of_sets = True
    needs = "answers"
    unit = "share"
    rate = True

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return ((run["logit_diff"] > 0).double(),)


@metric
class InterchangeAccuracy(Metric):
    """Share whose most likely next token is the counterfactual answer."""

    word = "interchange_accuracy"
    needs = "vocabulary"
    unit = "share"
    rate = True

    def of_vocabulary(self, seen: Seen) -> Tensor:
        return seen.logits.argmax(-1) == seen.counterfactual


@metric
class Prob(Metric):
    """Mean probability of the base's answer; of a set, the sum over it."""

    word = "prob"
    of_continuations = True
    of_sets = True
    of_foils = False
    needs = "vocabulary"
    unit = "probability"

    def of_vocabulary(self, seen: Seen) -> Tensor:
        return seen.answer_log_probs[:, 0].exp()


@metric
class ProbDiff(Metric):
    """Mean probability of the base's answer minus that of its foil; of sets, the sums over them."""

    word = "prob_diff"
    of_continuations = True
    of_sets = True
    needs = "vocabulary"
    unit = "probability"

    def of_vocabulary(self, seen: Seen) -> Tensor:
        both = seen.answer_log_probs.exp()
        return both[:, 0] - both[:, 1]


@metric
class Loss(Metric):
    """Mean cross-entropy of the base's answer: minus its log-probability, or that of its set."""

    word = "loss"
    of_continuations = True
    of_sets = True
    of_foils = False
    needs = "vocabulary"
    unit = "nats"

    def of_vocabulary(self, seen: Seen) -> Tensor:
        return -seen.answer_log_probs[:, 0]


@metric
class Rank(Metric):
    """Mean rank of the base's answer among all tokens: 1 is the most likely one.

    Of a set it is that of its most likely member.
    """

    word = "rank"
    of_sets = True
    of_foils = False
    needs = "vocabulary"
    unit = "rank"

    def of_vocabulary(self, seen: Seen) -> Tensor:
        own = seen.logits.gather(1, seen.own_answers).amax(1, keepdim=True)
        return 1 + (seen.logits > own).sum(-1)


@metric
class Accuracy(Metric):
    """Share whose most likely next token is the base's answer, or one of its answers."""

    word = "accuracy"
    of_sets = True
    of_foils = False
    needs = "vocabulary"
    unit = "share"
    rate = True

    def of_vocabulary(self, seen: Seen) -> Tensor:
        return (seen.logits.argmax(-1, keepdim=True) == seen.own_answers).any(1)


@metric
class Kl(Metric):
    """Mean KL divergence of the clean from the patched output."""

    word = "kl"
    of_sets = True
    of_foils = False
    needs = "vocabulary"
    of_clean = 0.0
    unit = "nats"
    compares = True

    def of_vocabulary(self, seen: Seen) -> Tensor:
        clean = seen.clean_log_probs
        return (clean.exp() * (clean - seen.log_probs)).sum(-1)


@metric
class Output(Metric):
    """Mean output of a toy model."""

    word = "output"
    needs = "output"
    unit = ""

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        return (run["logit_diff"],)
