"""Sparsify, EleutherAI's: `cfg.json` and `sae.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping

from causaldsl.model.dictionaries.form import Activation, Form, Stored
from causaldsl.model.dictionaries.settings import Settings

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
_ACTIVATIONS: dict[str, Activation] = {"topk": "topk", "groupmax": "groupmax"}
IGNORED: set[str] = set()


def form(settings: Settings, files: Mapping[str, tuple[int, ...]], scale: float | None) -> Form:
    """``files`` are the shapes of the tensors that there are.

    Raises:
        Mistake: for what is not understood.
    """
    activation = settings.get("activation") or "topk"
    if activation not in _ACTIVATIONS:
        raise settings.unknown("activation", activation, _ACTIVATIONS)
    if settings.flag("signed", False):
        raise settings.refused("its features are signed (`signed`), which are not read here")
    d_in, transcoder = settings.count("d_in"), settings.flag("transcode", False)
    features = settings.get("num_latents") or d_in * settings.count("expansion_factor")
    features = settings.whole("num_latents", features, 2**24)
    k = settings.whole("k", settings.get("k"), features)
    if activation == "groupmax" and features % k:
        raise settings.refused(f"its {features} features don't fall into {k} groups")
    tensors = {
        "W_enc": Stored("encoder.weight", transposed=True),
        "b_enc": Stored("encoder.bias"),
        "W_dec": Stored("W_dec"),
        "b_dec": Stored("b_dec"),
    }
    if settings.flag("skip_connection", False):
        tensors["W_skip"] = Stored("W_skip", transposed=True)
    return Form(
        layout="Sparsify",
        folder=settings.path.parent,
        config=CONFIG,
        weights=WEIGHTS,
        d_in=d_in,
        d_out=d_in,
        features=features,
        activation=_ACTIVATIONS[activation],
        tensors=tensors,
        k=k,
        minus_bias=not transcoder,
        scale=1.0 if scale is None else scale,
        transcoder=transcoder,
    )
