"""dictionary_learning: `config.json`, and weights in `ae.pt` that only the run opens."""

from __future__ import annotations

from collections.abc import Mapping

from causaldsl.model.dictionaries.form import Activation, Form, Stored
from causaldsl.model.dictionaries.settings import Settings

CONFIG, WEIGHTS = "config.json", "ae.pt"
_LINEAR = {
    "W_enc": Stored("encoder.weight", transposed=True),
    "b_enc": Stored("encoder.bias"),
    "W_dec": Stored("decoder.weight", transposed=True),
    "b_dec": Stored("b_dec"),
}
_PLAIN = {name: Stored(name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
_THRESHOLD = {"threshold": Stored("threshold", may_be_one=True)}
_CLASSES: dict[str, tuple[Activation, dict[str, Stored]]] = {
    "AutoEncoder": ("relu", {**_LINEAR, "b_dec": Stored("bias")}),
    "AutoEncoderNew": ("relu", {**_LINEAR, "b_dec": Stored("decoder.bias")}),
    "GatedAutoEncoder": (
        "gated",
        {
            **_LINEAR,
            "b_enc": Stored("gate_bias"),
            "r_mag": Stored("r_mag"),
            "b_mag": Stored("mag_bias"),
            "b_dec": Stored("decoder_bias"),
        },
    ),
    "AutoEncoderTopK": ("topk", _LINEAR),
    "BatchTopKSAE": ("jumprelu", _LINEAR | _THRESHOLD),
    "MatryoshkaBatchTopKSAE": ("jumprelu", _PLAIN | _THRESHOLD),
    "JumpReluAutoEncoder": ("jumprelu", _PLAIN | _THRESHOLD),
}
_UNCENTRED = ("AutoEncoderNew", "JumpReluAutoEncoder")
_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid": "hook_resid_post",
    "mlp": "hook_mlp_out",
    "att": "hook_attn_out",
}
IGNORED = {"k", "threshold", "group_sizes"}
"""What training keeps beside the weights."""


def form(settings: Settings, files: Mapping[str, tuple[int, ...]], scale: float | None) -> Form:
    """Raises a :class:`Mistake` for what is not understood."""
    trained = settings.part("trainer")
    cls = str(trained.get("dict_class"))
    if cls not in _CLASSES:
        raise trained.unknown("dict_class", cls, _CLASSES)
    activation, tensors = _CLASSES[cls]
    d_in, features = trained.count("activation_dim"), trained.count("dict_size")
    layer, module = trained.get("layer"), str(trained.get("submodule_name") or "")
    place = next((hook for start, hook in _HOOKS.items() if module.startswith(start)), "")
    known = isinstance(layer, int) and not isinstance(layer, bool)
    return Form(
        layout="dictionary_learning",
        folder=settings.path.parent,
        config=CONFIG,
        weights=WEIGHTS,
        d_in=d_in,
        d_out=d_in,
        features=features,
        activation=activation,
        tensors=tensors,
        k=trained.whole("k", trained.get("k"), features) if activation == "topk" else 0,
        minus_bias=cls not in _UNCENTRED,
        unit_rows=cls == "AutoEncoder",
        scale=1.0 if scale is None else scale,
        hook=f"blocks.{layer}.{place}" if known and place else "",
        layer=layer if known else None,
        model=str(trained.get("lm_name") or ""),
    )
