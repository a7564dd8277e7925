"""SAELens: `cfg.json` and `sae_weights.safetensors`, of version 6 and of those before it."""

from __future__ import annotations

from collections.abc import Mapping

from causaldsl.model.dictionaries.form import Activation, Form, Norm, Stored
from causaldsl.model.dictionaries.settings import Settings

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_ARCHITECTURES: dict[str, Activation] = {
    "standard": "relu",
    "gated": "gated",
    "jumprelu": "jumprelu",
    "topk": "topk",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
_NORMS: dict[str, Norm] = {
    "none": "none",
    "expected_average_only_in": "none",
    "constant_norm_rescale": "constant_norm",
    "layer_norm": "layer_norm",
}
_KEYS = {
    *("architecture", "d_in", "d_sae", "d_out", "dtype", "device", "apply_b_dec_to_input"),
    *("normalize_activations", "reshape_activations", "metadata", "k"),
    "rescale_acts_by_decoder_norm",
}
"""What the configuration says since version 6; before, it said how it was trained too."""
_HARMLESS = {"center_writing_weights", "fold_ln", "center_unembed", "revision", "dtype"}
"""What may have been done to the model: the last three change no activation."""


def form(settings: Settings, files: Mapping[str, tuple[int, ...]], scale: float | None) -> Form:
    """``files`` are the shapes of the tensors that there are.

    Raises:
        Mistake: for what is not understood.
    """
    about = settings.with_part("metadata")
    new = "metadata" in settings.values
    architecture = str(settings.get("architecture") or "standard")
    activation_fn = settings.get("activation_fn") or settings.get("activation_fn_str") or "relu"
    k = settings.get("k")
    if not new and activation_fn == "topk":
        architecture = "topk"
        k = settings.listed("activation_fn_kwargs").get("k")
    elif activation_fn != "relu":
        raise settings.unknown("activation_fn", activation_fn, ("relu", "topk"))
    if architecture not in _ARCHITECTURES:
        raise settings.unknown("architecture", architecture, _ARCHITECTURES)
    for key in settings.values if new else ():
        if key not in _KEYS:
            raise settings.not_understood(key)
    norm = settings.get("normalize_activations") or "none"
    if norm is True:
        norm = "expected_average_only_in"
    if not isinstance(norm, str) or norm not in _NORMS:
        raise settings.unknown("normalize_activations", norm, _NORMS)
    if norm == "expected_average_only_in" and scale is None:
        raise settings.refused(
            "it was trained on activations times a number that it does not say "
            "(`normalize_activations` is expected_average_only_in)",
            "say that number, `scale: 0.31`; or `scale: 1` where it is in the weights already",
        )
    if any(about.get(key) is not None for key in ("hook_head_index", "hook_point_head_index")):
        raise settings.refused(
            "it reads one head, which dictionaries here can't", "use another one"
        )
    if about.get("is_transcoder") and "transcoder" not in architecture:
        raise settings.refused(
            "it is a transcoder (`is_transcoder`) whose architecture says otherwise",
            "save it again with SAELens 6",
        )
    processing = about.listed("model_from_pretrained_kwargs")
    for key, value in processing.items():
        if value and key not in _HARMLESS:
            raise settings.unknown("model_from_pretrained_kwargs", key, sorted(_HARMLESS))
    rescaled = settings.flag("rescale_acts_by_decoder_norm", False)
    if rescaled and architecture != "topk":
        raise settings.refused("it rescales features (`rescale_acts_by_decoder_norm`), not as topk")
    transcoder = "transcoder" in architecture
    d_in, features = settings.count("d_in"), settings.count("d_sae")
    return Form(
        layout="SAELens",
        folder=settings.path.parent,
        config=CONFIG,
        weights=WEIGHTS,
        d_in=d_in,
        d_out=settings.count("d_out") if transcoder else d_in,
        features=features,
        activation=_ARCHITECTURES[architecture],
        tensors=_tensors(architecture, settings, files),
        k=settings.whole("k", k, features) if architecture == "topk" else 0,
        minus_bias=not transcoder and settings.flag("apply_b_dec_to_input", True),
        norm=_NORMS[norm],
        rescaled=rescaled,
        centred=bool(processing.get("center_writing_weights")),
        folded=bool(processing.get("fold_ln")),
        scale=1.0 if scale is None else scale,
        transcoder=transcoder,
        hook=str(about.get("hook_name") or about.get("hook_point") or ""),
        hook_out=str(about.get("hook_name_out") or ""),
        layer=_layer(about),
        model=str(about.get("model_name") or ""),
        bos=None if about.get("prepend_bos") is None else about.flag("prepend_bos", False),
    )


def _layer(about: Settings) -> int | None:
    """The layer that is named where no hook is, or beside one."""
    found = (about.get(key) for key in ("hook_layer", "hook_point_layer"))
    return next((one for one in found if isinstance(one, int)), None)


def _tensors(
    architecture: str, settings: Settings, files: Mapping[str, tuple[int, ...]]
) -> dict[str, Stored]:
    found = {name: Stored(name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    if architecture == "gated":
        found |= {"b_enc": Stored("b_gate"), "r_mag": Stored("r_mag"), "b_mag": Stored("b_mag")}
    if "jumprelu" in architecture:
        log = "log_threshold" in files and "threshold" not in files
        found["threshold"] = Stored("log_threshold", is_log=True) if log else Stored("threshold")
    if "skip" in architecture:
        found["W_skip"] = Stored("W_skip", transposed=True)
    if settings.flag("finetuning_scaling_factor", False) and "scaling_factor" in files:
        found["decoder_scale"] = Stored("scaling_factor")
    return found


IGNORED = {"scaling_factor"}
"""Tensors that older files have, whether they are in use or not."""
