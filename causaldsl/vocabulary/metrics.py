"""What a metric is, and what it is worked out from. Each with its formula is in `measured.py`.

A metric is a function of means over the pairs, so that all of it is taken over the same draws of
pairs. Formulas are written with the methods of tensors, and import nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

from causaldsl.discovery import import_all
from causaldsl.vocabulary.register import BUILT_IN, PACKAGES, code_of, register, vocabulary_of

Tensor = Any
Needs = Literal["answers", "vocabulary", "output"]
Columns = Mapping[str, Tensor]
"""What was kept of a run: numbers by pair (n,), under `logit_diff` and metrics' names."""


SOURCE = "logit_diff of the source"
"""The column of the clean run that a metric which is ``of_source`` finds there too."""


EMPTY = "logit_diff of the empty circuit"
"""The column of a run on a circuit that a metric which is ``of_empty`` finds there too."""


@dataclass(frozen=True)
class Seen:
    """Logits (n, V) behind n prompts, which a metric over the vocabulary is worked out from.

    ``clean`` are those of the clean run, where a metric ``compares``; ``answers`` (n, 2) are answer
    and foil, ``counterfactual`` (n,) the counterfactual answer, all token ids. Where there are sets
    of answers, or no foils, ``answers`` are (n, c), and ``sides`` (n, c) is 1 for an answer, -1 for
    a foil and 0 for neither; only a metric that is ``of_sets`` meets these.
    """

    logits: Tensor
    clean: Tensor | None
    answers: Tensor
    counterfactual: Tensor
    sides: Tensor | None = None

    @cached_property
    def log_probs(self) -> Tensor:
        """In double precision on the CPU: not every device has it."""
        return self.logits.cpu().double().log_softmax(-1)

    @cached_property
    def answer_log_probs(self) -> Tensor:
        """Those of answer and foil, (n, 2); of a set, that of saying any of it."""
        found = self.log_probs.gather(1, self.answers.cpu())
        if self.sides is None:
            return found
        both = found[:, :, None].expand(-1, -1, 2)
        return both.masked_fill(self._others.cpu(), float("-inf")).logsumexp(1)

    @property
    def _others(self) -> Tensor:
        """Which members (n, c, 2) are no answers, and no foils."""
        assert self.sides is not None
        return self.sides[:, :, None] != self.sides.new_tensor([1, -1])

    @property
    def own_answers(self) -> Tensor:
        """The answers alone, (n, c), repeated where there are fewer."""
        found = self.answers.to(self.logits.device)
        if self.sides is None:
            return found[:, :1]
        return found.where(self.sides.to(found.device) == 1, found[:, :1])

    @cached_property
    def clean_log_probs(self) -> Tensor:
        assert self.clean is not None
        return self.clean.cpu().double().log_softmax(-1)


class Metric:
    """A metric. Its docstring is its entry in the reference.

    ``needs`` says which logits it is worked out from: those of answer and foil, of the whole
    vocabulary, or the output of a toy model.
    """

    word: ClassVar[str]
    needs: ClassVar[Needs]
    unit: ClassVar[str] = ""
    compares: ClassVar[bool] = False
    """Whether it needs the clean run's logits of the whole vocabulary too."""
    of_continuations: ClassVar[bool] = False
    """Whether it can be worked out where answers have several tokens, from the columns `logit_diff`
    (of log-probabilities then), `prob`, `prob_diff` and `loss`."""
    of_sets: ClassVar[bool] = False
    """Whether it can be worked out where there are several answers, or several foils."""
    of_foils: ClassVar[bool] = True
    """Whether it needs foils."""
    of_source: ClassVar[bool] = False
    """Whether it needs the sources' clean run too: the logit differences of the bases' answers and
    foils there are the clean run's column ``SOURCE``."""
    of_empty: ClassVar[bool] = False
    """Whether each of its runs is one on a circuit, and it needs that with nothing inside too: the
    logit differences there are the run's column ``EMPTY``."""
    option: ClassVar[bool] = False
    """Whether options name it too (`of: logit_diff`), so that nothing else can be called so."""
    headline: ClassVar[int] = 0
    """A table of several metrics is ordered by the one with the largest, or else by the first."""
    undefined: ClassVar[str] = "these runs give no finite number"
    """Why it can fail to be a number."""
    of_clean: ClassVar[float | None] = None
    """What it is of the clean run, where its definition says so."""
    rate: ClassVar[bool] = False
    """Whether it is the share of pairs for which something is so, and its interval an exact one."""
    doc: ClassVar[str]

    @property
    def origin(self) -> str:
        """What its values depend on beside its word: its package with its code, else ""."""
        return code_of(type(self))

    def __init_subclass__(cls) -> None:
        cls.doc = inspect.cleandoc(cls.__doc__ or "")

    def of_vocabulary(self, seen: Seen) -> Tensor:
        """One number a pair (n,) from the logits of the whole vocabulary, kept under its word."""
        raise NotImplementedError

    def means(self, run: Columns, clean: Columns) -> tuple[Tensor, ...]:
        """The columns (n,) whose means over the pairs it is a function of."""
        return (run[self.word],)

    def value(self, *means: Tensor) -> Tensor:
        """The metric from the means of these columns, elementwise."""
        return means[0]

    def divisor(self, *means: Tensor) -> Tensor | None:
        """What it divides by, which must not be 0 within its interval; None if nothing."""
        return None

    def change(self, *columns: Tensor) -> Tensor | None:
        """By pair (n,), for one that has a divisor: its change from the clean run before it is
        divided, whose mean is 0 where a run changes nothing, whatever the divisor is.

        Without it cells are marked by the change of the value itself."""
        return None


def metric_named(word: str) -> Metric:
    """The metric of this word, of any package; a plain one where there is none."""
    import_all("causaldsl.vocabulary")  # also where no program has been checked
    tables = (BUILT_IN, *PACKAGES.values())
    found: list[Metric] = [table.metrics[word] for table in tables if word in table.metrics]
    return found[0] if found else Metric()


def named_with_unit(word: str) -> str:
    """A metric as the axis of a picture names it.

    >>> named_with_unit("kl"), named_with_unit("prob"), named_with_unit("")
    ('kl (nats)', 'prob', '')
    """
    unit = metric_named(word).unit
    return word if unit in ("", word, "probability") else f"{word} ({unit})"


def headline(words: Iterable[str]) -> str:
    """The one of some metrics that a table is ordered by and drawn for."""
    return max(words, key=lambda word: metric_named(word).headline)


def metric(cls: type[Metric]) -> type[Metric]:
    """Register a metric.

    Raises:
        TypeError: if it does not say which logits it needs, or how it is worked out from them.
    """
    if getattr(cls, "needs", None) not in get_args(Needs):
        known = ", ".join(get_args(Needs))
        raise TypeError(f"the metric {cls.word} does not say its `needs`: one of {known}")
    if cls.needs == "vocabulary" and cls.of_vocabulary is Metric.of_vocabulary:
        raise TypeError(f"the metric {cls.word} needs the vocabulary, and has no `of_vocabulary`")
    register(vocabulary_of(cls.__module__).metrics, cls.word, cls())
    return cls
