"""The families that are known: one list, from ``model_type`` to a description of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from causaldsl.model.families import cohere, experts, gemma, gpt, llama
from causaldsl.model.families.config import Config
from causaldsl.model.families.forms import Architecture

FAMILIES: dict[str, Callable[[Config], Architecture]] = {
    "bloom": gpt.bloom,
    "codegen": gpt.codegen,
    "cohere": cohere.cohere,
    "cohere2": cohere.cohere2,
    "falcon": gpt.falcon,
    "gemma": gemma.gemma,
    "gemma2": gemma.gemma2,
    "gemma3": gemma.gemma3,
    "gemma3_text": gemma.gemma3_text,
    "glm": llama.glm,
    "glm4": llama.glm4,
    "gpt2": gpt.gpt2,
    "gpt_bigcode": gpt.gpt_bigcode,
    "gpt_neo": gpt.gpt_neo,
    "gpt_neox": gpt.gpt_neox,
    "gpt_oss": experts.gpt_oss,
    "gptj": gpt.gptj,
    "granite": llama.granite,
    "llama": llama.llama,
    "mistral": llama.mistral,
    "mixtral": experts.mixtral,
    "mpt": gpt.mpt,
    "nemotron": llama.nemotron,
    "olmo": llama.olmo,
    "olmo2": llama.olmo2,
    "olmo3": llama.olmo3,
    "opt": gpt.opt,
    "phi": llama.phi,
    "phi3": llama.phi3,
    "qwen2": llama.qwen2,
    "qwen2_moe": experts.qwen2_moe,
    "qwen3": llama.qwen3,
    "qwen3_moe": experts.qwen3_moe,
    "seed_oss": llama.seed_oss,
    "smollm3": llama.smollm3,
    "stablelm": llama.stablelm,
    "starcoder2": llama.starcoder2,
}


def describe(entries: Mapping[str, Any], name: str = "this model") -> Architecture | None:
    """The model that a Hugging Face configuration describes; None for a family unknown to us.

    A multimodal configuration is read for its text part. Raises :class:`Mistake` for one that does
    not name its layers, width, heads or vocabulary.
    """
    told = {**entries, **(entries.get("text_config") or {})}
    told["model_type"] = entries.get("model_type", told.get("model_type", ""))
    build = FAMILIES.get(str(told["model_type"]))
    return None if build is None else build(Config(told, name))
