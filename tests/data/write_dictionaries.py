"""Writes `tests/data/dictionaries/`: tiny dictionaries, each by the library whose layout it has.

Run in an environment that has sae-lens 6.54, eai-sparsify 1.3 and dictionary-learning 0.1. Beside
each dictionary stands `expected.safetensors`: activations, and what the library makes of them in
double precision. Weights are random, with biases and thresholds away from zero.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

D, F, K = 16, 40, 5
HERE = Path(__file__).parent / "dictionaries"


def randomise(module: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            size = 0.25 if parameter.dim() == 2 else 0.1
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
            if name.endswith("threshold"):
                parameter.abs_()


def inputs(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return 1.5 * torch.randn(12, D, generator=generator, dtype=torch.float64) + 0.3


def keep(folder: Path, x: Tensor, features: Tensor, out: Tensor) -> None:
    found = {"x": x, "features": features.double(), "out": out.double()}
    save_file(
        {name: value.contiguous() for name, value in found.items()}, folder / "expected.safetensors"
    )


def sae_lens() -> None:
    from sae_lens.saes import gated_sae, jumprelu_sae, standard_sae, topk_sae, transcoder
    from sae_lens.saes.sae import SAE

    gated, jump, topk = gated_sae, jumprelu_sae, topk_sae
    place = {"hook_name": "blocks.1.hook_resid_post", "model_name": "tiny-llama"}
    cases: dict[str, Any] = {
        "standard": (standard_sae.StandardSAE, standard_sae.StandardSAEConfig, {}),
        "standard_input": (
            standard_sae.StandardSAE,
            standard_sae.StandardSAEConfig,
            {"apply_b_dec_to_input": False},
        ),
        "standard_layer_norm": (
            standard_sae.StandardSAE,
            standard_sae.StandardSAEConfig,
            {"normalize_activations": "layer_norm"},
        ),
        "jumprelu_rescaled": (
            jump.JumpReLUSAE,
            jump.JumpReLUSAEConfig,
            {"normalize_activations": "constant_norm_rescale"},
        ),
        "jumprelu": (jump.JumpReLUSAE, jump.JumpReLUSAEConfig, {}),
        "gated": (gated.GatedSAE, gated.GatedSAEConfig, {}),
        "topk": (topk.TopKSAE, topk.TopKSAEConfig, {"k": K}),
        "topk_by_size": (
            topk.TopKSAE,
            topk.TopKSAEConfig,
            {"k": K, "rescale_acts_by_decoder_norm": True},
        ),
        "transcoder": (transcoder.Transcoder, transcoder.TranscoderConfig, {"d_out": D}),
        "skip_transcoder": (
            transcoder.SkipTranscoder,
            transcoder.SkipTranscoderConfig,
            {"d_out": D},
        ),
        "jumprelu_transcoder": (
            transcoder.JumpReLUTranscoder,
            transcoder.JumpReLUTranscoderConfig,
            {"d_out": D},
        ),
    }
    for seed, (name, (cls, config, options)) in enumerate(cases.items()):
        if "transcoder" in name:
            options = {**options, "apply_b_dec_to_input": False}
        sae = cls(config(d_in=D, d_sae=F, **options))
        for key, value in place.items():
            setattr(sae.cfg.metadata, key, value)
        randomise(sae, seed)
        folder = HERE / "saelens" / name
        sae.save_model(folder)
        again: Any = SAE.load_from_disk(folder).double()
        again.dtype = torch.float64
        x = inputs(seed)
        with torch.no_grad():
            keep(folder, x, again.encode(x), again(x))
    _old_sae_lens()


def _old_sae_lens() -> None:
    """The layout before version 6, which version 6 reads: one flat configuration."""
    from sae_lens.saes.sae import SAE

    flat = {
        "architecture": "standard", "d_in": D, "d_sae": F, "activation_fn_str": "relu",
        "apply_b_dec_to_input": True, "finetuning_scaling_factor": False, "dtype": "torch.float32",
        "hook_name": "blocks.1.hook_resid_post", "hook_layer": 1, "hook_head_index": None,
        "model_name": "tiny-llama", "normalize_activations": "none", "prepend_bos": True,
        "context_size": 128, "dataset_path": "some/texts", "sae_lens_training_version": "3.5.0",
    }  # fmt: skip
    for name, changed in {
        "old_standard": {},
        "old_topk": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}},
    }.items():
        folder = HERE / "saelens" / name
        folder.mkdir(parents=True, exist_ok=True)
        like = HERE / "saelens" / ("topk" if "topk" in name else "standard")
        save_file(load_file(like / "sae_weights.safetensors"), folder / "sae_weights.safetensors")
        (folder / "cfg.json").write_text(json.dumps({**flat, **changed}))
        again: Any = SAE.load_from_disk(folder).double()
        again.dtype = torch.float64
        x = inputs(50)
        with torch.no_grad():
            keep(folder, x, again.encode(x), again(x))


def sparsify() -> None:
    from sparsify import SparseCoder
    from sparsify.config import SparseCoderConfig

    for seed, (name, options) in enumerate(
        {
            "topk": {},
            "groupmax": {"activation": "groupmax"},
            "transcoder": {"transcode": True},
            "skip_transcoder": {"transcode": True, "skip_connection": True},
        }.items()
    ):
        sae = SparseCoder(D, SparseCoderConfig(num_latents=F, k=K, **options))
        randomise(sae, 20 + seed)
        folder = HERE / "sparsify" / name
        sae.save_to_disk(folder)
        again = SparseCoder.load_from_disk(folder).double()
        x = inputs(20 + seed)
        with torch.no_grad():
            values, indices, _ = again.encode(x)
            features = torch.zeros(len(x), F, dtype=torch.float64).scatter(-1, indices, values)
            keep(folder, x, features, again(x).sae_out)


def dictionary_learning() -> None:
    from dictionary_learning import dictionary as d
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    cases: dict[str, Any] = {
        "AutoEncoder": d.AutoEncoder(D, F),
        "AutoEncoderNew": d.AutoEncoderNew(D, F),
        "GatedAutoEncoder": d.GatedAutoEncoder(D, F),
        "JumpReluAutoEncoder": d.JumpReluAutoEncoder(D, F),
        "AutoEncoderTopK": AutoEncoderTopK(D, F, K),
        "BatchTopKSAE": BatchTopKSAE(D, F, K),
        "MatryoshkaBatchTopKSAE": MatryoshkaBatchTopKSAE(D, F, K, [16, 24]),
    }
    for seed, (name, sae) in enumerate(cases.items()):
        randomise(sae, 40 + seed)
        if "Batch" in name:
            sae.threshold.fill_(0.4)
        folder = HERE / "dictionary_learning" / name
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(sae.state_dict(), folder / "ae.pt")
        trainer = {
            "trainer_class": "SomeTrainer", "dict_class": name, "activation_dim": D, "dict_size": F,
            "k": K, "layer": 1, "lm_name": "tiny-llama", "submodule_name": "resid_post_layer_1",
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
        if name == "AutoEncoder":
            sae.normalize_decoder()  # as loading it does
        again = sae.double()
        x = inputs(40 + seed)
        with torch.no_grad():
            keep(folder, x, again.encode(x), again(x))


if __name__ == "__main__":
    for part in sys.argv[1:] or ("sae_lens", "sparsify", "dictionary_learning"):
        globals()[part]()
