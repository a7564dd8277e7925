"""Generated texts: the numbers of each arm, and the texts side by side.

A text is whatever the model wrote. On the page it is escaped like all text; on the terminal it
stands in cells whose markup is not read, with control characters shown as what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from causaldsl.report.html.figures import estimate
from causaldsl.report.html.markup import Content, Html, breakable, join, tag
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Kind, Named, Options, kind
from causaldsl.report.numbers import places_of, with_interval
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import GenerationRecord, Results
from causaldsl.shown import visible

_ON_TERMINAL, _BESIDE = 3, 3
_CHARACTERS = 300


@kind
class Generations(Kind[GenerationRecord]):
    fields = ("generations",)
    title = "Texts side by side"
    terminal_place = 15
    page_place = 45
    operand = "texts"

    def tables(self, results: Results, name: str, record: GenerationRecord) -> Iterator[Table]:
        if record.metrics:
            rows = (
                [arm, *(with_interval(numbers[m]) for m in record.metrics)]
                for arm, numbers in record.numbers.items()
            )
            title = f"{name}: {_how(record)} (n = {_n(record)}, 95% intervals)"
            yield titled(title, ["arm"], list(record.metrics), rows)
        if record.texts:
            some = min(_ON_TERMINAL, len(record.prompts))
            out = Table(title=f"{name}: {_part(record, some)}", title_justify="left")
            for column in ("prompt", *record.texts):
                out.add_column(column, overflow="fold")
            for row in range(some):
                texts = [record.prompts[row], *(t[row] for t in record.texts.values())]
                out.add_row(*(Text(_short(text)) for text in texts))
            yield out

    def panel(self, view: View, name: str, record: GenerationRecord) -> Html:
        numbers = _numbers(name, record) if record.metrics else None
        if not record.texts:
            return join(numbers)
        some = min(_BESIDE, len(record.prompts))
        more = None
        if len(record.prompts) > some:
            link = tag("a", f"all {len(record.prompts)} texts", href=f"#all-{name}")
            more = tag("p", link, class_="more")
        return join(numbers, _side_by_side(name, record, range(some)), more)

    def article(self, view: View, name: str, record: GenerationRecord) -> Html | None:
        """All texts, folded away, where not all stand beside the statement."""
        if len(record.prompts) <= _BESIDE or not record.texts:
            return None
        summary = tag("summary", tag("code", name), f": {len(record.prompts)} prompts")
        every = _side_by_side(name, record, range(len(record.prompts)))
        return tag("details", summary, every, id=f"all-{name}")

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        arm, metric = options.get("arm", ""), options.get("metric", "")
        record = results.generations.get(name)
        number = record.numbers.get(arm, {}).get(metric) if record is not None else None
        return None if number is None else (f"{name}.{arm}.{metric}", number)


def _n(record: GenerationRecord) -> int:
    return next(iter(next(iter(record.numbers.values())).values())).n


def _how(record: GenerationRecord) -> str:
    """How the texts were written, in a few words."""
    said = [f"up to {record.tokens} tokens"]
    if not record.sampling.get("temperature"):
        return f"{said[0]}, the most likely ones"
    usual = {"top_k": 0, "top_p": 1}
    told = {k: v for k, v in record.sampling.items() if usual.get(k) != v}
    return ", ".join([*said, *(f"{name} {value:g}" for name, value in told.items())])


def _part(record: GenerationRecord, some: int) -> str:
    count = len(record.prompts)
    return f"the first {some} of {count} texts" if count > some else "all texts"


def _short(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _CHARACTERS else shown[:_CHARACTERS] + "..."


def _numbers(name: str, record: GenerationRecord) -> Html:
    places = {m: places_of([row[m] for row in record.numbers.values()]) for m in record.metrics}
    columns: list[Content] = ["arm", *(tag("code", breakable(m)) for m in record.metrics)]
    rows: list[list[Content]] = [
        [tag("code", arm), *(estimate(row[m], places[m]) for m in record.metrics)]
        for arm, row in record.numbers.items()
    ]
    caption = join(tag("b", name), f", n = {_n(record)}, 95% intervals: {_how(record)}")
    named = [f"{m}: {said}" for m, said in record.metrics.items() if said != m]
    legend = tag("p", "; ".join(named), class_="small") if named else None
    return join(table(columns, rows, caption, class_="numbers few"), legend)


def _side_by_side(name: str, record: GenerationRecord, rows: Sequence[int]) -> Html:
    """A row for each prompt, a column for each arm; a mark where the model ended its text."""
    made: list[list[Content]] = [
        [
            tag("span", record.prompts[row]),
            *(
                join(tag("span", texts[row]), _END if record.ended[arm][row] else None)
                for arm, texts in record.texts.items()
            ),
        ]
        for row in rows
    ]
    columns: list[Content] = ["prompt", *(tag("code", breakable(arm)) for arm in record.texts)]
    caption = join(tag("b", name), f": {_part(record, len(rows))}")
    return table(columns, made, caption, class_="prompts texts")


_END = tag("span", " ∎", class_="interval", title="the model ended its text here")
