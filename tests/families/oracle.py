"""What an intervention must give in any family: raw PyTorch hooks on the transformers module.

Imports nothing from causaldsl. A place is (kind, layer, head) with the language's words; an edit is
a place and a function from its activation (n, T, d) to the new one. What is held gets its clean
value in whole forward passes; with norms held, what caps logits shrinks each as in the clean run.
Slow and plain on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tests.families.anatomy import Model

Place = tuple[str, int | None, int | None]
Change = Callable[[Tensor], Tensor]
Edits = Sequence[tuple[Place, Change]]

ORDER = [
    "embed", "resid_pre", "q", "k", "v", "z", "out", "attn_out", "resid_mid", "mlp_in",
    "mlp_hidden", "mlp_out", "resid_post", "logits",
]  # fmt: skip
"""Kinds as a forward pass meets them; hooks at one module fire in this order."""


@dataclass(frozen=True)
class Held:
    """What has its clean value, at every layer and position; ``free`` are (kind, layer, head)."""

    attention: bool = False
    mlp: bool = False
    norms: bool = False
    free: frozenset[Place] = field(default_factory=frozenset)


def load(folder: Path, dtype: torch.dtype = torch.float64) -> Model:
    """A saved model, its attention and experts written out so that they run in any dtype."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    # Falcon's written-out attention adds ALiBi twice, to the scores and by the mask; as the model
    # is run otherwise, and was trained, it does so once.
    attention = "sdpa" if getattr(config, "alibi", False) else "eager"
    module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, local_files_only=True
    )
    module.config._experts_implementation = "eager"
    return Model(module.eval().requires_grad_(False))


def logits(model: Model, tokens: Tensor, edits: Edits = (), held: Held | None = None) -> Tensor:
    """Logits (n, V) at the last position with the edits in force, those at one place in order."""
    with _held(model, tokens, held, edits), _edited(model, tokens, edits), double():
        with _seen_uncapped(model) as uncapped:
            found: Tensor = model.module(tokens, use_cache=False).logits
        found = found.clone()
        if held is not None and held.norms and model.logit_cap is not None:
            clean = model.remembered(tokens, _clean_values)
            found = uncapped[-1] * (clean["capped"] / clean["uncapped"])
        for place, change in edits:
            if place[0] == "logits":
                found = change(found)
        return found[:, -1]


def read(
    model: Model,
    tokens: Tensor,
    places: Sequence[Place],
    edits: Edits = (),
    held: Held | None = None,
) -> list[Tensor]:
    """Activations (n, T, d) at some places, behind the edits that are made there."""
    seen: dict[int, Tensor] = {}

    def keep(index: int) -> Change:
        def change(x: Tensor) -> Tensor:
            seen[index] = x.clone()
            return x

        return change

    watched = [(place, keep(i)) for i, place in enumerate(places)]
    # A place that is only read does not count as edited, so it frees nothing.
    with torch.no_grad(), _held(model, tokens, held, edits):
        _ = logits(model, tokens, [*edits, *watched])
    return [seen[i] for i in range(len(places))]


def path(
    model: Model,
    tokens: Tensor,
    sender: Edits,
    stages: Sequence[Sequence[tuple[Place, Tensor]]],
    held: Held,
) -> Edits:
    """What a path changes in the last run: its last receivers, each at positions (n, k).

    The base runs with the sender changed and the policy in force; what the receivers read is kept;
    they are the next stage's sender.
    """
    edits = list(sender)
    for receivers in stages:
        found = read(model, tokens, [place for place, _ in receivers], edits, held)
        edits = [
            (place, put(positions, gather(value, positions)))
            for (place, positions), value in zip(receivers, found, strict=True)
        ]
    return edits


def put(positions: Tensor, value: Tensor, basis: Tensor | None = None, add: bool = False) -> Change:
    """Set (or add to) the activation at positions (n, k), along a basis (d, r) if there is one."""

    def change(x: Tensor) -> Tensor:
        out, rows = x.clone(), _rows(positions)
        old, new = x[rows, positions], value
        if add:
            new = old + new
        elif basis is not None:
            new = old + (new - old) @ basis @ basis.T
        out[rows, positions] = new
        return out

    return change


def gather(x: Tensor, positions: Tensor) -> Tensor:
    """(n, T, d) at (n, k) token indices: (n, k, d)."""
    return x[_rows(positions), positions]


def _rows(positions: Tensor) -> Tensor:
    return torch.arange(len(positions))[:, None]


class double(TorchFunctionMode):
    """Models round to float32 in norms and softmax; in float64 none of that is wanted."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func not in _ROUNDING:
            return func(*args, **(kwargs or {}))
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            single = torch.float32 in (*args[1:], kwargs.get("dtype"))
            if func is Tensor.float or (func is Tensor.to and single):
                return args[0]
            if single and func in _SOFTMAX:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_ROUNDING = frozenset([Tensor.float, Tensor.to, *_SOFTMAX])


@contextmanager
def _seen_uncapped(model: Model) -> Iterator[list[Tensor]]:
    """What the unembedding gives in a forward pass."""
    seen: list[Tensor] = []
    head = model.module.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def _edited(model: Model, tokens: Tensor, edits: Edits) -> Iterator[None]:
    handles: list[Any] = []
    places = dict.fromkeys(place for place, _ in edits)
    try:
        for place in sorted(places, key=lambda place: ORDER.index(place[0].split(".")[-1])):
            changes = [change for at, change in edits if at == place]
            handles += _hook(_At(model, tokens), *place, _one_after_another(changes))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _one_after_another(changes: Sequence[Change]) -> Change:
    def change(x: Tensor) -> Tensor:
        for each in changes:
            x = each(x)
        return x

    return change


class _At:
    """Hooks on modules of one model; activations are seen as (n, T, d), whatever a module sees."""

    def __init__(self, model: Model, tokens: Tensor):
        self.model, self.shape = model, tokens.shape

    def input(self, part: Any, change: Change) -> Any:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (self._seen(args[0], change), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": self._seen(kwargs["hidden_states"], change)}

        return part.register_forward_pre_hook(hook, with_kwargs=True)

    def output(self, part: Any, change: Change) -> Any:
        def hook(_: Any, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (self._seen(output[0], change), *output[1:])
            return self._seen(output, change)

        return part.register_forward_hook(hook)

    def _seen(self, x: Tensor, change: Change) -> Tensor:
        return change(x.reshape(*self.shape, -1)).reshape(x.shape)


def _hook(at: _At, kind: str, layer: int | None, head: int | None, change: Change) -> list[Any]:
    model, parts = at.model, at.model.parts
    if kind == "logits":
        return []  # done to what the model gives
    if kind == "embed":
        return [at.output(model.embed, _scaled(model.embed_scale, change))]
    assert layer is not None
    block = model.blocks[layer]
    if head is not None:
        return [_hook_head(at, kind, layer, head, change)]
    match kind:
        case "resid_pre":
            return [at.input(block, change)]
        case "resid_post":
            return [at.output(block, change)]
        case "resid_mid":
            return _hook_middle(at, layer, change)
        case "attn_out":
            end = model.part(layer, parts.ends[0])
            return [at.output(end, _scaled(1 / model.multiplier, change))]
        case "mlp_out":
            end = model.part(layer, parts.ends[1])
            return [at.output(end, _scaled(1 / model.multiplier, change))]
        case "mlp_in":
            return [at.input(model.part(layer, parts.mlp), change)]
        case "mlp_hidden":
            assert parts.down is not None
            return [at.input(model.part(layer, parts.down), change)]
    raise AssertionError(kind)


def _hook_head(at: _At, kind: str, layer: int, head: int, change: Change) -> Any:
    model, part = at.model, kind.split(".")[1]
    columns = slice(head * model.d_head, (head + 1) * model.d_head)
    out = model.part(layer, model.parts.out)
    if part == "z":
        return at.input(out, _in_columns(columns, change))
    if part == "out":
        W_O = model.W_O(layer, head)

        def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            y = inputs[0].reshape(*at.shape, -1)[..., columns] @ W_O
            return output + (change(y) - y).reshape(output.shape)

        return out.register_forward_hook(hook)
    projection, columns = model.of_qkv(layer, part, head)
    return at.output(projection, _in_columns(columns, change))


def _hook_middle(at: _At, layer: int, change: Change) -> list[Any]:
    """Change what the second part reads, and add the same change to what the block gives."""
    model, parts = at.model, at.model.parts
    assert parts.middle is not None
    middle = model.part(layer, parts.middle)
    if parts.stream_is_normed:
        return [at.output(middle, change)]
    if parts.goes_on_normed:
        return [at.input(middle, change)]
    moved: list[Tensor] = []

    def into(mid: Tensor) -> Tensor:
        new = change(mid)
        moved.append(new - mid)
        return new

    return [at.input(middle, into), at.output(model.blocks[layer], lambda x: x + moved[-1])]


def _scaled(scale: float, change: Change) -> Change:
    """The change of x, where scale times x is seen."""
    return change if scale == 1 else lambda x: change(x / scale) * scale


def _in_columns(columns: slice, change: Change) -> Change:
    def whole(x: Tensor) -> Tensor:
        out = x.clone()
        out[..., columns] = change(x[..., columns])
        return out

    return whole


@contextmanager
def _held(model: Model, tokens: Tensor, held: Held | None, edits: Edits) -> Iterator[None]:
    if held is None or not (held.attention or held.mlp or held.norms):
        yield
        return
    clean = model.remembered(tokens, _clean_values)
    free = held.free | freed(model, [place for place, _ in edits])
    at, parts, handles = _At(model, tokens), model.parts, []
    for layer in range(len(model.blocks)):
        if held.attention:
            back = _heads_back(model, clean["z", layer], layer, free)
            handles.append(at.input(model.part(layer, parts.out), back))
        if held.mlp and ("mlp_out", layer, None) not in free:
            whole = _always(clean["mlp", layer])
            if parts.down is None:
                handles.append(at.output(model.part(layer, parts.mlp), whole))
            else:
                handles.append(at.input(model.part(layer, parts.down), whole))
    if held.norms:
        for i, norm in enumerate(model.norms()):
            handles.append(norm.register_forward_hook(_with_scale(clean["norm", i])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def freed(model: Model, edited: Sequence[Place]) -> frozenset[Place]:
    """Heads and MLPs whose own inputs are edited: they must run for the edit to do anything."""
    free: set[Place] = set()
    share = model.heads // model.kv_heads
    for kind, layer, head in edited:
        if kind == "mlp_in":
            free.add(("mlp_out", layer, None))
        if kind in ("head.q", "head.k", "head.v"):
            free.add(("head.z", layer, head))
        if kind in ("kv_head.k", "kv_head.v"):
            assert head is not None
            free |= {("head.z", layer, head * share + i) for i in range(share)}
    return frozenset(free)


def _always(value: Tensor) -> Change:
    return lambda _: value


def _heads_back(model: Model, clean: Tensor, layer: int, free: frozenset[Place]) -> Change:
    d = model.d_head

    def change(z: Tensor) -> Tensor:
        out = clean.clone()
        for head in range(model.heads):
            if ("head.z", layer, head) in free:
                out[..., head * d : (head + 1) * d] = z[..., head * d : (head + 1) * d]
        return out

    return change


def _with_scale(clean_input: Tensor) -> Any:
    """The norm with the scale of the clean run: g c(x) / s(x) + b becomes g c(x) / s(clean) + b."""

    def hook(norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        bias = getattr(norm, "bias", None)
        bias = torch.zeros_like(output[..., :1]) if bias is None else bias
        ratio = _size(norm, inputs[0]) / _size(norm, clean_input)
        return (output - bias) * ratio + bias

    return hook


def _size(norm: Any, x: Tensor) -> Tensor:
    if not type(norm).__name__.endswith("RMSNorm"):
        x = x - x.mean(-1, keepdim=True)
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", 1e-5))  # OLMo's is in its code
    return torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def _clean_values(model: Model, tokens: Tensor) -> dict[Any, Tensor]:
    values: dict[Any, Tensor] = {}
    at, parts, handles = _At(model, tokens), model.parts, []

    def keep(*key: Any) -> Change:
        def change(x: Tensor) -> Tensor:
            values[key] = x.detach().clone()
            return x

        return change

    def keep_input(key: Any) -> Any:
        def hook(_: Any, args: tuple[Tensor, ...]) -> None:
            values[key] = args[0].detach().clone()

        return hook

    for layer in range(len(model.blocks)):
        handles.append(at.input(model.part(layer, parts.out), keep("z", layer)))
        if parts.down is None:
            handles.append(at.output(model.part(layer, parts.mlp), keep("mlp", layer)))
        else:
            handles.append(at.input(model.part(layer, parts.down), keep("mlp", layer)))
    for i, norm in enumerate(model.norms()):
        handles.append(norm.register_forward_pre_hook(keep_input(("norm", i))))
    with torch.no_grad(), double(), _seen_uncapped(model) as uncapped:
        values["capped"] = model.module(tokens, use_cache=False).logits
    values["uncapped"] = uncapped[-1]
    for handle in handles:
        handle.remove()
    return values
