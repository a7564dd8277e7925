"""A model's weights, read from the folder that the front end found.

Nothing here uses the network or prints. The model's module is built by transformers, unless its
answers are known from an earlier run (``known_answers.py``): then the weights are read alone, and
the module is built when it is first used. Its attention is ``eager``, which TransformerLens needs
to show attention patterns, so that every backend computes the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from causaldsl.diagnostics import RunFailure, suggest
from causaldsl.engine.memory.free import free_bytes
from causaldsl.engine.weights.bridge import build_bridge, quiet
from causaldsl.engine.weights.checkpoint import Checkpoint, read_checkpoint
from causaldsl.engine.weights.known_answers import KnownAnswers, answers_of, recall
from causaldsl.engine.weights.places import Places, places, sizes_of, spread
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.dtypes import DTYPES
from causaldsl.model.folders import read_config, weight_files

_OF_A_BLOCK = re.compile(r"\.\d+\.(?!.*(attn|attention)\.(masked_)?bias$)(?!.*inv_freq$)")
"""Names of a block's weights; a file may also hold heads for other tasks, and buffers."""
_DEVICES = ("cpu", "cuda", "mps")
_GPUS = ("gpu", "nvidia", "amd", "rocm", "metal", "apple")


@dataclass(eq=False)
class Loaded:
    """A model with its weights, in evaluation mode and without gradients on them.

    ``source`` is the Hugging Face module as transformers made it, or the weights alone; None for a
    toy model. It is read when it is first asked for; ``alone`` is as in :func:`load`. A module
    stays that way: the bridge is built around a twin with submodules of its own that holds the same
    tensors. On several ``devices`` a module can't be run; ``answers``, those of
    ``known_answers.answers_of``, are had before it is spread over them.
    """

    spec: ModelSpec
    devices: tuple[str, ...]
    dtype: torch.dtype
    alone: bool = False
    answers: Tensor | None = None

    @property
    def device(self) -> str:
        """Where the stream begins and ends, and activations are edited and read."""
        return self.devices[0]

    @property
    def room(self) -> int:
        """Free bytes of the device that has fewest."""
        return min(map(free_bytes, self.devices))

    @cached_property
    def known(self) -> KnownAnswers | None:
        """The module's answers in an earlier run, where they are looked for and found."""
        looked_for = self.alone and self.spec.path is not None
        return recall(self.spec, self.dtype, self.device) if looked_for else None

    @cached_property
    def source(self) -> nn.Module | Checkpoint | None:
        path = self.spec.path
        if path is None:
            return None
        if self.known is not None and self.known.alone:
            read = read_checkpoint(path, self.known, self.dtype, self._places)
            if read is not None:
                return read
        return self._module(path)

    def _module(self, path: Path, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The module on its devices, with ``tensors`` in the place of its own where these equal."""
        module = _module(path, self.dtype, tensors)
        if len(self.devices) == 1:
            return module.to(self.device)
        weight = cast(Any, module).get_input_embeddings().weight
        self.answers = answers_of(module, weight)
        return spread(module, self._places(_parameters(module)))

    def _places(self, tensors: Mapping[str, Tensor]) -> Places:
        if len(self.devices) == 1:
            return lambda name: self.device
        sizes = sizes_of(tensors, self.dtype.itemsize)
        free = {device: free_bytes(device) for device in self.devices}
        return places(sizes, self.spec.shapes.n_layers, free)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def hf(self) -> Any:
        """The Hugging Face module, which runs by itself; None for a toy model.

        Raises :class:`RunFailure` on several devices, where it doesn't.
        """
        if len(self.devices) > 1:
            raise RunFailure(
                f"{self.spec.name} can be on {' and '.join(self.devices)} for the cone backend "
                "only, and this program needs the model whole: for a site or an architecture that "
                "runs on hooks",
                "name one device: `--device " + self.device + "`",
            )
        if not isinstance(self.source, Checkpoint):
            return self.source
        assert self.spec.path is not None
        return self._module(self.spec.path, self.source.tensors)

    def build(self) -> None:
        """Build the module, and use it in the place of the weights read without it."""
        assert self.spec.path is not None
        self.source = None  # frees it
        self.source = self._module(self.spec.path)

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        """Every parameter under its Hugging Face name, tied ones under each of their names.

        These are references, not copies.
        """
        if isinstance(self.source, Checkpoint):
            return self.source.tensors
        return _parameters(self.source) if self.source is not None else {}

    @property
    def config(self) -> Any:
        """The configuration's entries as attributes."""
        return self.source.config if self.source is not None else None

    @cached_property
    def bridge(self) -> Any:
        """What hooks run on: a ``TransformerBridge``, or a ``ToyModel`` (``engine/toy.py``)."""
        return build_bridge(self.spec, self.hf, self.dtype, self.device)


def load(
    spec: ModelSpec,
    device: str = "cpu",
    dtype: str = "float32",
    alone: bool = False,
    later: bool = False,
) -> Loaded:
    """Read the weights of a model. A toy model is always float64. ``device`` may name several.

    With ``alone`` they are read without the module, where its answers are known; with ``later``
    not before something asks for them.

    Raises :class:`RunFailure` if the weights are missing or don't fit the configuration, or if the
    device or dtype is unknown.
    """
    devices = _devices(device)
    if dtype not in DTYPES:
        raise RunFailure(f"unknown dtype {dtype}", suggest(dtype, DTYPES, "dtypes"))
    if torch.device(devices[0]).type == "mps" and (spec.path is None or dtype == "float64"):
        what = "a toy model is always" if spec.path is None else f"{spec.name} is asked for"
        raise RunFailure(f"{what} in float64, which mps does not have", "use `--device cpu`")
    if spec.path is None:
        return Loaded(spec, devices, torch.float64)
    if not weight_files(spec.path):
        raise RunFailure(f"{spec.name} has no weights: none in {spec.path}", _where_from(spec))
    wanted: torch.dtype = getattr(torch, dtype)
    loaded = Loaded(spec, devices, wanted, alone)
    if not later:
        loaded.source  # noqa: B018
    return loaded


def _module(
    folder: Path, dtype: torch.dtype, tensors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """The module, with ``tensors`` in the place of its own where the two are equal."""
    read: nn.Module = _read(folder, dtype)
    shared: dict[int, nn.Parameter] = {}
    for name, own in _parameters(read).items():
        tensor = (tensors or {}).get(name)
        if tensor is not None and torch.equal(tensor.cpu(), own):
            owner, _, leaf = name.rpartition(".")
            # One parameter for all names of a tensor, so that tied ones stay tied.
            same = shared.setdefault(id(tensor), nn.Parameter(tensor, requires_grad=False))
            read.get_submodule(owner).register_parameter(leaf, same)
    return read.eval().requires_grad_(False)


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters(remove_duplicate=False))


def _read(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    _check_own_code(folder)
    with quiet():
        try:
            read: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype,
                attn_implementation=_attention(folder),
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,  # of a pickled file
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises what it likes
            reason = " ".join(str(error).split())
            raise RunFailure(
                f"cannot load the weights in {folder}: {reason[:300]}",
                "the file may belong to another model than the config.json beside it",
            ) from error
    model, report = read
    unfit = sorted(key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"])
    strange = sorted(filter(_OF_A_BLOCK.search, report["unexpected_keys"]))
    for names, what in ((unfit, "have another shape for"), (strange, "hold, beside the model's,")):
        if names:
            raise RunFailure(
                f"the weights in {folder} {what} {names[0]} and {len(names) - 1} more",
                "the file may belong to another model than the config.json beside it",
            )
    if dtype == torch.float64:  # products by group of experts are not offered in it
        model.config._experts_implementation = "eager"
    missing = sorted(report["missing_keys"])
    if missing:
        raise RunFailure(
            f"the weights in {folder} lack {missing[0]} and {len(missing) - 1} more",
            "they would be random numbers; the file may belong to another model",
        )
    return model


def _check_own_code(folder: Path) -> None:
    """Raise :class:`RunFailure` for a model that only code in its own folder could build."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = read_config(folder.name, folder)
    kind = config.get("model_type")
    if "auto_map" in config and not (isinstance(kind, str) and kind in CONFIG_MAPPING):
        raise RunFailure(
            f"{kind!r} is an architecture that transformers does not have: the folder brings code "
            "of its own, which is never run",
            "models of the architectures that transformers itself has can be loaded",
        )


def _attention(folder: Path) -> str:
    """Which of transformers' attentions gives a model's own numbers.

    Its eager one adds the ALiBi of a Falcon twice (transformers 5.23).
    """
    config = read_config(folder.name, folder)
    doubled = config.get("model_type") == "falcon" and config.get("alibi")
    return "sdpa" if doubled else "eager"


def _devices(named: str) -> tuple[str, ...]:
    """The devices of a list with commas. Raises :class:`RunFailure` for one that isn't here."""
    devices = tuple(part.strip() for part in named.split(","))
    for device in devices:
        _check_device(device)
    different = {device if ":" in device else f"{device}:0" for device in devices}
    if len(different) < len(devices) or len({device.split(":")[0] for device in devices}) > 1:
        raise RunFailure(
            f"several devices are different ones of one kind, and here are {', '.join(devices)}",
            "as in `--device cuda:0,cuda:1`",
        )
    return devices


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if device.split(":")[0] not in _DEVICES:  # torch would list all that it can be built for
            raise RunFailure(f"no device {device} here", _meant(device)) from error
        reason = str(error).splitlines()[0]
        raise RunFailure(f"no device {device} here: {reason}", "`--device cpu` works") from error


def _meant(name: str) -> str:
    """What may be meant by a name that is no device's."""
    if name.split(":")[0].lower() in _GPUS:
        return "say `cuda` for a GPU of NVIDIA or AMD, `mps` for one of Apple"
    return suggest(name, _DEVICES, "devices")


def _where_from(spec: ModelSpec) -> str:
    if spec.kind == "hub":
        return f"fetch them with `causaldsl models pull {spec.name}`"
    return "put model.safetensors there, as save_pretrained writes it"
