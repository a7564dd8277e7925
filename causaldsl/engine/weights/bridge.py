"""A TransformerBridge around a module of transformers, checked against it."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.exact import exact
from causaldsl.engine.weights.known_answers import probe_tokens, runnable
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.families.forms import Architecture, Attention, Stored
from causaldsl.model.shapes import ModelDims
from causaldsl.model.tokens import Tokens
from causaldsl.model.toy import toy


def build_bridge(spec: ModelSpec, hf: Any, dtype: torch.dtype, device: str) -> Any:
    """A new TransformerBridge on the weights of a module; for a toy model a module of our own.

    The bridge replaces submodules of the module it wraps by components of its own, and may switch
    how that module computes attention. It gets a twin of ``hf``, which stays as it was. The
    twin holds the same tensors; where q, k and v share one parameter, the
    bridge adds its own copies of the three. Give the bridge token ids: its own tokenization (with a
    prepended BOS) is not the model's convention.

    Raises :class:`RunFailure` if TransformerLens does not know the architecture, or does not give
    the module's own logits.
    """
    if spec.path is None:
        from causaldsl.engine.toy import ToyModel

        return ToyModel(toy(spec.name), device)
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokens.load(spec.path, spec.bos).tokenizer)
    twin = _twin(hf)
    originals = dict(twin.named_modules())
    with quiet(), _layout_of_falcon(spec.shapes.form, twin), _norms_of_phi(spec.shapes.form):
        try:
            bridge = TransformerBridge.boot_transformers(
                str(spec.path),
                hf_model=twin,
                tokenizer=tokenizer,
                dtype=dtype,
                device=device,
                trust_remote_code=False,
            )
        except Exception as error:  # its adapters raise what they like
            raise _unserved(spec.shapes, error) from error
    bridge.originals = originals
    _alibi_of_falcon(spec.shapes.form, bridge)
    _rounding_of_codegen(spec.shapes.form, bridge, dtype)
    bridge = bridge.eval().requires_grad_(False)
    _check_bridge(spec.shapes, hf, bridge, dtype)
    return bridge


def _unserved(shapes: ModelDims, error: Exception) -> RunFailure:
    reason = str(error) or type(error).__name__
    return RunFailure(
        f"TransformerLens can't serve {shapes.architecture}: {reason}",
        "its documentation lists the architectures that TransformerBridge supports",
    )


@torch.no_grad()
def _check_bridge(shapes: ModelDims, hf: Any, bridge: Any, dtype: torch.dtype) -> None:
    """Raise :class:`RunFailure` unless the bridge gives the module's own logits on a probe.

    It computes attention anew, and does not do so rightly for every model that it builds.
    """
    tokens = probe_tokens(shapes.d_vocab, hf.device)
    with exact(dtype):
        with runnable():
            wanted = hf(tokens).logits[:, -1].float()
        try:
            found = bridge(tokens)[:, -1].float()
        except Exception as reason:
            raise _unserved(shapes, reason) from reason
    if not bool(wanted.isfinite().all()):
        return  # the model itself is broken, which is said elsewhere
    error = float((found - wanted).abs().max())
    half = dtype in (torch.bfloat16, torch.float16)
    if not error <= (0.05 if half else 1e-3) * max(1.0, float(wanted.abs().max())):
        raise RunFailure(
            f"TransformerLens's {shapes.architecture} does not give this model's own logits: they "
            f"are {error:.2g} apart on a probe",
            "so its hooks would show another model",
        )


@contextmanager
def _layout_of_falcon(form: Architecture | None, twin: Any) -> Iterator[None]:
    """TransformerLens splits a Falcon's q, k and v as if they were not kept group by group, and
    looks for two norms in a block that may have one.

    Both are replaced while the bridge is built, for such a model alone.
    """
    if form is None or form.family != "falcon" or not twin.config.new_decoder_architecture:
        yield
        return
    from transformer_lens.model_bridge.supported_architectures.falcon import (
        FalconArchitectureAdapter as Adapter,
    )

    # Of no meaning in this layout, where transformers does not look at it; the bridge does.
    twin.config.multi_query = False
    block, make = form.blocks[0], Adapter.__init__
    assert block.before_attention is not None
    norm = block.before_attention.module.rpartition(".")[2]

    def make_named(self: Any, config: Any) -> None:
        make(self, config)
        self.component_mapping["blocks"].submodules["ln1"].name = norm

    def split(self: Any, module: Any) -> Any:
        return _apart(block.attention, module)

    with _replaced(Adapter, __init__=make_named, _split_falcon_qkv=split):
        yield


@contextmanager
def _norms_of_phi(form: Architecture | None) -> Iterator[None]:
    """TransformerLens knows no norms of a Phi's queries and keys; they are told to it."""
    if form is None or form.family != "phi" or form.blocks[0].attention.q_norm is None:
        yield
        return
    from transformer_lens.model_bridge.generalized_components import (
        NormalizationBridge,
        PositionEmbeddingsAttentionBridge,
    )
    from transformer_lens.model_bridge.supported_architectures.phi import (
        PhiArchitectureAdapter as Adapter,
    )

    make = Adapter.__init__

    def make_normed(self: Any, config: Any) -> None:
        make(self, config)
        parts = self.component_mapping["blocks"].submodules
        norms = {
            f"{x}_norm": NormalizationBridge(
                name=f"{x}_layernorm", config=self.cfg, use_native_layernorm_autograd=True
            )
            for x in "qk"
        }
        parts["attn"] = PositionEmbeddingsAttentionBridge(
            name=parts["attn"].name,
            config=self.cfg,
            submodules={**parts["attn"].submodules, **norms},
            requires_attention_mask=True,
            requires_position_embeddings=True,
        )

    with _replaced(Adapter, __init__=make_normed):
        yield


@contextmanager
def _replaced(owner: type, **methods: Any) -> Iterator[None]:
    """A class of TransformerLens with methods of ours while a bridge is built."""
    before = {name: getattr(owner, name) for name in methods}
    for name, method in methods.items():
        setattr(owner, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(owner, name, method)


def _alibi_of_falcon(form: Architecture | None, bridge: Any) -> None:
    """Falcon's mask has the ALiBi in it already; TransformerLens's attention would add it again."""
    if form is None or form.family != "falcon" or not form.blocks[0].attention.alibi:
        return

    def without(module: nn.Module, args: Any, named: Any) -> Any:
        return args, {**named, "alibi": None}

    for block in bridge.blocks:
        block.attn.register_forward_pre_hook(without, with_kwargs=True)


def _rounding_of_codegen(form: Architecture | None, bridge: Any, dtype: torch.dtype) -> None:
    """CodeGen's scores are in float32; TransformerLens leaves z in it, which W_O may not be."""
    if form is None or form.family != "codegen":
        return
    for block in bridge.blocks:
        block.attn.o.register_forward_pre_hook(lambda _, args: (args[0].to(dtype), *args[1:]))


def _apart(form: Attention, module: Any) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """q, k and v of a module that joins them, as three linear maps."""
    joined = module.query_key_value

    def part(place: Stored, heads: int) -> nn.Linear:
        rows = [
            place.first_row(head, form.n_heads, form.n_kv_heads, form.d_head) + i
            for head in range(heads)
            for i in range(form.d_head)
        ]
        weight = joined.weight.detach()[rows]
        biased = joined.bias is not None
        linear = nn.Linear(weight.shape[1], len(rows), bias=biased, device="meta")
        linear.weight = nn.Parameter(weight)
        if biased:
            linear.bias = nn.Parameter(joined.bias.detach()[rows])
        return linear

    k, v = (part(place, form.n_kv_heads) for place in (form.k, form.v))
    return part(form.q, form.n_heads), k, v


def originals_of(bridge: Any) -> dict[str, nn.Module]:
    """The modules that a bridge was built around, by their names before that."""
    found: dict[str, nn.Module] = getattr(bridge, "originals", {})
    return found


def _twin(model: nn.Module) -> nn.Module:
    """A copy of the module tree that holds the very same parameters and buffers."""
    shared = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars, log lines and warnings of transformers and TransformerLens."""
    from transformers.utils import logging as reports

    level, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    disabled = logging.root.manager.disable
    reports.set_verbosity_error()
    reports.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        reports.set_verbosity(level)
        if bars:
            reports.enable_progress_bar()
