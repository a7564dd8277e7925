"""What a pass holds beside clean runs, in bytes: gradients, differences, features, keys and values.

For S positions that go through together, b bytes of a number, and of a block's own numbers for each
position B = 8 d + 4 m + H (4 h + 2 T)::

    gradients    prompts x S x (B blocks + 2 sites)     all that is remembered for the way back
    edges run    S x (senders + 2 receivers of a stream) d, of S / (senders / 64) at a time
    texts        2 arms prompts (T + new) layers heads h, and logits in double where they are drawn
    features     S x 2 F where they are changed; of all pairs, those that arms put in
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.model.dictionaries.form import Dictionary
from causaldsl.model.edges import Wiring, count_before
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.beside import features_in, places_of
from causaldsl.plan.chunks import CONE_TOKENS, GRADIENT_ROWS, SENDERS_HELD, WRITTEN_TOGETHER
from causaldsl.plan.circuits import stream_of
from causaldsl.plan.entries import entry_of
from causaldsl.plan.memory import BYTES, chunk_rows, room, window_of
from causaldsl.plan.planner import Plan
from causaldsl.plan.request import Request
from causaldsl.plan.rules import places_changed_in
from causaldsl.plan.sharing import Members
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.generation import GenerateWord

_DRAWN = 5
"""Tables in double precision of all logits, where tokens are drawn (``engine/writing.py``)."""


def of_block(shapes: ModelDims, longest: int) -> int:
    """Numbers of a position that a block works out."""
    heads = shapes.n_heads * (4 * shapes.d_head + 2 * longest)
    return 8 * shapes.d_model + 4 * shapes.d_mlp + heads


def of_passes(graph: Graph, plan: Plan, shapes: ModelDims, dtype: str, budget: int) -> int:
    """The most that a pass holds beside a block's own numbers."""
    number = BYTES[dtype]
    found = [0]
    for group in plan.order:
        found.append(number * sum(_gradients(graph, plan, shapes, key) for key in group))
        found.append(_written(graph, shapes, group, number, budget))
        operations = [graph.operation(key) for key in group]
        changed = [at for one in operations for at in features_in(places_changed_in(graph, one))]
        wirings = {wiring for one in operations if (wiring := getattr(one.word, "edges", ""))}
        wide = max((_of_edges(Wiring.parse(wiring), shapes) for wiring in wirings), default=0)
        found.append(_single(dtype) * (wide + _of_features(graph, operations, changed)))
    return max(found)


def of_dictionaries(graph: Graph, dtype: str) -> int:
    """The weights of all dictionaries, which stay from their first use on."""
    found = set[Dictionary]()
    for key in graph.network:
        operation = graph.operation(key)
        found |= {
            at.site.dictionary for at in features_in(places_of(operation)) if at.site.dictionary
        }
        own = getattr(operation.word, "dictionary", None)
        found |= {own} if isinstance(own, Dictionary) else set()
    by_digest = {one.digest: one.form for one in found}
    sizes = [form.features * (form.d_in + form.d_out) for form in by_digest.values()]
    return _single(dtype) * sum(sizes)


def estimates_of(graph: Graph, operation: Operation, shapes: ModelDims) -> int:
    """Bytes of what an attribution estimates, for every pair and in double precision."""
    word = operation.word
    assert isinstance(word, AttributionWord)
    sites = [at.site for at in operation.to]
    if word.senders:
        sent = sites[: word.senders]
        count = sum(count_before(sent, site, shapes) for site in sites[word.senders :])
    else:
        split = (
            s.dictionary is not None or (word.neurons and s.kind == "mlp_hidden") for s in sites
        )
        both = zip(sites, split, strict=True)
        count = sum((site.width(shapes) or 1) if alone else 1 for site, alone in both)
    return BYTES["float64"] * count * len(graph.prompts_of(operation.input("base")))


def _single(dtype: str) -> int:
    """Bytes of a number that is never in half precision."""
    return max(BYTES["float32"], BYTES[dtype])


def _gradients(graph: Graph, plan: Plan, shapes: ModelDims, key: str) -> int:
    """Numbers that are remembered for the way back of the largest request, or of a training's
    step."""
    operation, asked = graph.operation(key), plan.asked[key]
    places = operation.to[getattr(operation.word, "senders", 0) :]  # of edges, where they end
    training = operation.word.training(1)
    rows = GRADIENT_ROWS if training is None else training.batch
    sizes = [0]
    for request in asked.requests:
        if request.backward:
            prompts = graph.prompts_of(request.clean)
            window = window_of(request.edits, prompts)
            if plan.backends[key] == "hooks":
                window = max(prompt.length for prompt in prompts)
            longest = max(prompt.length for prompt in prompts)
            own = _blocks(request, shapes, plan.backends[key]) * of_block(shapes, longest) * window
            leaves = sum((at.site.width(shapes) or 0) * window for at in places)
            sizes.append(min(rows, len(prompts)) * (own + 2 * leaves))
    return max(sizes)


def _blocks(request: Request, shapes: ModelDims, backend: str) -> int:
    """How many blocks a way back goes through."""
    first = min(entry_of(at.site, shapes.n_layers).layer for at in request.edits)
    return shapes.n_layers - (0 if backend == "hooks" else max(first, 0))


def _written(graph: Graph, shapes: ModelDims, group: Members, number: int, budget: int) -> int:
    """Keys and values of texts that are written together, and logits of their next tokens."""
    operation = graph.operation(group[0])
    word = operation.word
    if not isinstance(word, GenerateWord):
        return 0
    prompts = graph.prompts_of(operation.input("base"))
    longest = max(prompt.length for prompt in prompts) + word.tokens
    of_token = 2 * shapes.n_layers * shapes.n_kv_heads * shapes.d_head
    each = len(group) * longest * of_token * number
    rows = min(WRITTEN_TOGETHER, len(prompts), chunk_rows(each, room(budget)))
    logits = number + (_DRAWN * BYTES["float64"] if word.temperature else 0)
    return rows * (each + len(group) * shapes.d_vocab * logits)


def _of_edges(wiring: Wiring, shapes: ModelDims) -> int:
    """Numbers that a run on edges holds: what senders differ by, and what receivers read."""
    senders = len(wiring.senders(shapes))
    streams = Counter(stream_of(site, shapes)[-1] for site in wiring.by_receiver(shapes))
    positions = CONE_TOKENS // max(1, -(-senders // SENDERS_HELD))
    return positions * (senders + 2 * max(streams.values(), default=0)) * shapes.d_model


def _of_features(graph: Graph, operations: Iterable[Operation], changed: list[SiteAt]) -> int:
    """Features that arms put in, of all pairs, and those of the positions in a pass."""
    if not changed:
        return 0
    total = 0
    for operation in operations:
        prompts = graph.prompts_of(operation.input("base"))
        for at in features_in(places_changed_in(graph, operation)):
            total += at.position.count(prompts) * _numbers(at)
    return total + 2 * CONE_TOKENS * max(map(_numbers, changed))


def _numbers(at: SiteAt) -> int:
    assert at.site.dictionary is not None
    form = at.site.dictionary.form
    return form.features if at.site.numbers is None else len(at.site.numbers)
