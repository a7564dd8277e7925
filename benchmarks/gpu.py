"""Our side against TransformerLens and plain hooks on a GPU, with random models of real shapes.

    python benchmarks/gpu.py [--models 135m 1b 7b] [--minutes 8] [--repetitions 3]

It needs no network and no weights. The comparisons are those of `make bench`, on the same device in
the same process, with equal outputs. Beside the times it measures, of our side alone:

- kernels: the time in which the GPU computed, as a share of the whole (torch.profiler)
- limit: the least time for the floating-point operations at the rate of a large product, or for
  reading each weight once at the rate of a large copy, whichever is longer, as a share of the time

What the time does not suffice for is left out, and said. `--device cpu --models tiny` tries it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from bench import QUICK, Bench, Sizes
from common import machine, stamp
from comparisons import COMPARISONS
from limits import WORK
from product import Ours
from random_models import tokenizer
from rich.console import Console
from tables import GPU, gpu_rows, table
from turns import now, significant, take_turns

from causaldsl.engine.weights.load import Loaded
from causaldsl.model.catalog import resolve

SCHEMA = 1
RESULTS = Path(__file__).parent / "gpu.json"
WORKS = ("das_step_64", "das_fit", "end_sweep", "head_sweep", "path_scan", "audit")
_FEWER = {"head_sweep": 1}
"""Repetitions of what takes the others long."""
_LLAMA: dict[str, Any] = {"head_dim": 64, "tie_word_embeddings": True}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": _LLAMA
    | {
        "vocab_size": 2048,
        "hidden_size": 32,
        "head_dim": 8,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "135m": _LLAMA
    | {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "1b": _LLAMA
    | {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "7b": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "head_dim": 128,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": False,
    },
}
"""Llamas as large as SmolLM2-135M, Llama-3.2-1B and Llama-2-7B; tiny is for trying the script."""
_SIZES = {
    "tiny": QUICK,
    "135m": Sizes(our_steps=100, their_steps=4, sweep=64, heads=32, scan=32, audit=64),
    "1b": Sizes(our_steps=100, their_steps=4, sweep=64, heads=16, scan=32, audit=64),
    "7b": Sizes(our_steps=30, their_steps=2, sweep=32, heads=2, scan=8, audit=32),
}


def main() -> None:
    options = _options()
    ends = time.monotonic() + 60 * options.minutes
    results: dict[str, Any] = {
        "schema_version": SCHEMA,
        "machine": machine() | {"device": _device_name(options.device)},
        "models": {},
        "left_out": [],
    } | stamp("gpu.py")
    results["ceilings"] = ceilings(options.device)
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CAUSALDSL_CACHE"] = folder
            bench = random_bench(name, options.device, Path(folder))
            records = results["models"][name] = []
            for work in options.only:
                if time.monotonic() > ends:
                    results["left_out"].append(f"{name} {work}: no time left")
                    continue
                try:
                    records.append(_measured(bench, name, work, options, results["ceilings"]))
                except (AssertionError, RuntimeError) as error:
                    traceback.print_exc()
                    results["left_out"].append(f"{name} {work}: {error}")
                _write(options.out, results)
            del bench
    _write(options.out, results)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(f"On {results['machine']['device']}", GPU, gpu_rows(results)))
    for text in results["left_out"]:
        console.print(f"left out: {text}")


def random_bench(name: str, device: str, folder: Path) -> Bench:
    """A Llama with random weights, made on the device, and a tokenizer that knows the names."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = folder / name
    config = LlamaConfig(**SHAPES[name], bos_token_id=0, eos_token_id=0)
    config.save_pretrained(model)
    tokenizer(config.vocab_size).save(str(model / "tokenizer.json"))
    with torch.device(device), torch.random.fork_rng():
        torch.manual_seed(0)
        module = LlamaForCausalLM._from_config(config, attn_implementation="eager")
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=0.8 * parameter.shape[1] ** -0.5)
    spec = resolve(str(model), Path.cwd())
    loaded = Loaded(spec, (device,), torch.float32)
    loaded.source = module.eval().requires_grad_(False)
    return Bench(str(model), _SIZES[name], folder, loaded=loaded)


def _measured(
    bench: Bench, model: str, work: str, options: argparse.Namespace, most: dict[str, float]
) -> dict[str, Any]:
    """The record of a comparison, and what our side did with the GPU."""
    comparison = COMPARISONS[work](bench)
    repetitions = min(options.repetitions, _FEWER.get(work, options.repetitions))
    found = take_turns(comparison, repetitions, lambda text: _say(f"{model} {text}"))
    found["repetitions"] = repetitions
    ours = comparison.sides[0]
    assert isinstance(ours, Ours)
    found["whole_run"] = _whole_run(ours)
    if work in WORK:
        counted = WORK[work](bench, bench.product.backends["cone"].decoder, comparison.facts)  # type: ignore[attr-defined]
        arithmetic = counted.flops / most["flops_per_second"]
        reading = counted.weight_bytes / most["bytes_per_second"]
        least = max(arithmetic, reading)
        found["limit"] = {
            "by": "arithmetic" if arithmetic >= reading else "reading weights",
            "least_seconds": significant(least),
            "share": significant(least / found["sides"][0]["seconds"]),
        }
    return found


def _whole_run(ours: Ours) -> dict[str, float]:
    """Seconds of a whole run of our side, and of the kernels in it."""
    from torch.profiler import ProfilerActivity, profile

    walls = []
    for _ in range(3):
        began = now()
        ours.product.run(ours.compiled)
        walls.append(now() - began)
    seconds = statistics.median(walls)
    if not torch.cuda.is_initialized():
        return {"seconds": significant(seconds)}
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        ours.product.run(ours.compiled)
        torch.cuda.synchronize()
    on_gpu = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels = sum(event.time_range.elapsed_us() for event in on_gpu) / 1e6
    return {
        "seconds": significant(seconds),
        "kernels": significant(kernels),
        "launched": len(on_gpu),
        "share": significant(kernels / seconds),
    }


def ceilings(device: str) -> dict[str, float]:
    """What the device does at most: a large product, and a copy, counting bytes both ways."""
    size = 4096 if device.startswith("cuda") else 512
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    x = torch.randn(size * size * 8, device=device)
    y = torch.empty_like(x)
    product = _median_seconds(lambda: torch.mm(a, b))
    copy = _median_seconds(lambda: y.copy_(x))
    return {
        "flops_per_second": significant(2 * size**3 / product),
        "bytes_per_second": significant(2 * x.nbytes / copy),
    }


def _median_seconds(work: Any, repetitions: int = 10) -> float:
    times = []
    for _ in range(repetitions + 2):
        began = now()
        work()
        times.append(now() - began)
    return statistics.median(times[2:])


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["135m", "1b", "7b"])
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repetitions", type=int, default=3, help="after one of warm-up")
    parser.add_argument("--minutes", type=float, default=7, help="nothing is begun after these")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    return parser.parse_args()


def _write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(f"{time.perf_counter():.0f} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
