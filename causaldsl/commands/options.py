"""The options that several commands share, read into what the Python functions take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from causaldsl.cluster.where import Workers
from causaldsl.diagnostics import Mistake
from causaldsl.model.dtypes import DTYPES
from causaldsl.plan.settings import BACKENDS, SEEDS
from causaldsl.shown import is_plain

STDIN = Path("-")

WORK = ("backend", "dtype", "memory")
"""The options of :func:`add_work_options`."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a command's parser is added to."""


def add_program(command: argparse.ArgumentParser) -> None:
    """The program's file."""
    command.add_argument("program", type=Path, help="a .cpatch file")


def add_programs(command: argparse.ArgumentParser) -> None:
    """The files of some programs, or one on standard input."""
    command.add_argument(
        "programs",
        type=Path,
        nargs="+",
        metavar="program",
        help=".cpatch files; - is standard input",
    )


def standard_input() -> str:
    """The text on standard input. Raises :class:`Mistake` if it is none."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"standard input is not UTF-8 text: {error}"
        raise Mistake("unreadable-file", message) from None


def add_settings(command: argparse.ArgumentParser) -> None:
    """Other values for params."""
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="give a param of the program another value; --set model=NAME another model",
    )


def add_reading(command: argparse.ArgumentParser) -> None:
    """What a program may read, and how much it may ask for."""
    command.add_argument(
        "--allow-path",
        metavar="PATH",
        action="append",
        default=[],
        dest="allow",
        type=Path,
        help="a file or folder that the program may read beside its own folder",
    )
    command.add_argument(
        "--limit",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        dest="limits",
        help="raise what a program may ask for, such as --limit cells=20000 (docs/security.md)",
    )


def read_limits(written: Sequence[str]) -> dict[str, int]:
    """`NAME=NUMBER`, as given on the command line, by name. Raises :class:`Mistake`."""
    limits: dict[str, int] = {}
    for text in written:
        name, _, number = (part.strip() for part in text.partition("="))
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            message = f"`--limit {text}` is no limit"
            raise Mistake("bad-limit", message, "write --limit cells=20000")
        limits[name] = int(number)
    return limits


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Where a run goes, on what, and with what."""
    command.add_argument("--out", type=Path, help="the run's folder (else in runs/)")
    add_work_options(command)
    command.add_argument(
        "--device",
        "--devices",
        default="cpu",
        metavar="DEVICE[,DEVICE...]",
        help="cpu (default), cuda or mps; several share a model, as cuda:0,cuda:1",
    )
    command.add_argument(
        "--tf32",
        action="store_true",
        help="let an NVIDIA GPU round float32 factors to 10 bits (off by default)",
    )
    add_seed(command)
    add_store(command)
    command.add_argument("--json", action="store_true", help="print results.json instead of tables")


def add_store(command: argparse.ArgumentParser) -> None:
    """Where results are kept that are not made again."""
    command.add_argument(
        "--store",
        metavar="DIR",
        help="the folder of results that are not made again, or none (default: $CAUSALDSL_STORE, "
        "or the user's cache; docs/store.md)",
    )
    command.add_argument(
        "--store-limit",
        type=_size_or_none,
        metavar="SIZE",
        help="how large it may be, such as 4G: the least recently used goes first "
        "(default: $CAUSALDSL_STORE_LIMIT in bytes, or 10G)",
    )


def add_workers(command: argparse.ArgumentParser) -> None:
    """Who does the work of a run, if it is not this process."""
    command.add_argument(
        "--on",
        metavar="PLACE",
        help="ray, ray:ADDRESS or slurm: let other processes do the work (docs/workers.md)",
    )
    command.add_argument("--workers", type=int, help="how many (default: 2)")
    command.add_argument("--gpus-per-worker", type=float, metavar="G", help="of each (default: 0)")
    command.add_argument("--partition", help="of Slurm")
    command.add_argument("--minutes", type=int, help="what a Slurm job may take (default: 240)")
    command.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="a worker without a sign of progress for so long is replaced (default: 1800)",
    )


def read_workers(options: argparse.Namespace) -> Workers | None:
    """What :func:`add_workers` was given; None for this process. Raises :class:`Mistake`."""
    if getattr(options, "on", None) is None:
        refuse_alone(options, _OF_WORKERS, "--on ray", "--on slurm")
        return None
    given = {_OF_WORKERS[name]: value for name, value in _given(options, _OF_WORKERS)}
    workers = Workers(options.on, **given)
    for kind, names in _OF_KIND.items():
        if workers.kind != kind:
            refuse_alone(options, names, f"--on {kind}")
    return workers


_OF_WORKERS = {
    "workers": "count",
    "gpus_per_worker": "gpus",
    "partition": "partition",
    "minutes": "minutes",
    "patience": "patience",
}
_OF_KIND = {"slurm": ("partition", "minutes"), "ray": ("patience",)}
"""Options that only workers of one kind know."""


def refuse_alone(options: argparse.Namespace, names: Iterable[str], *needs: str) -> None:
    """Refuse the first of some options that is given, as it does nothing without another one.

    Raises:
        Mistake: with the options of which it needs one.
    """
    for name, _ in _given(options, names):
        option, others = f"--{name.replace('_', '-')}", " or ".join(f"`{one}`" for one in needs)
        message = f"`{option}` does nothing without {others}"
        raise Mistake("option-alone", message, f"add {others}, or leave `{option}` out")


def _given(options: argparse.Namespace, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Those of some options without a default that were given, and their values."""
    for name in names:
        if (value := getattr(options, name, None)) is not None:
            yield name, value


def read_work(options: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_work_options` was given, as Python's functions take it."""
    return dict(_given(options, WORK))


def add_seed(command: argparse.ArgumentParser) -> None:
    """What is added to every seed."""
    command.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="added to the seeds of das, random, resample and bootstrap; pairs keep their own",
    )


def add_work_options(command: argparse.ArgumentParser) -> None:
    """Which backend, in which precision, and with how much memory (bytes); None if not given."""
    command.add_argument(
        "--backend",
        choices=BACKENDS,
        help="cone computes only what an intervention can change (default); hooks is the reference",
    )
    command.add_argument(
        "--dtype",
        choices=DTYPES,
        help="what the program says, or float32; with bfloat16 the results say how far they lie "
        "from float32's",
    )
    command.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        help="what clean runs may keep in memory, such as 800M or 4G; the rest goes to files "
        "(default: an eighth of the free memory, at most 1G)",
    )


def read_settings(written: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, as given on the command line, by name. Raises :class:`Mistake`."""
    settings: dict[str, str] = {}
    for text in written:
        name, equals, value = text.partition("=")
        good = is_plain(value) and name.strip().isidentifier() and value.strip()
        if not equals or not good:
            raise Mistake("bad-setting", f"`--set {text}` sets nothing", "write --set NAME=VALUE")
        if name.strip() in settings:
            raise Mistake("option-twice", f"`{name.strip()}` is set twice", "set it once")
        settings[name.strip()] = value.strip()
    return settings


def _seed(text: str) -> int:
    """A seed small enough for every generator."""
    value = int(text)
    if not 0 <= value < SEEDS:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {SEEDS - 1}")
    return value


def _size_or_none(text: str) -> int:
    """The same, or 0."""
    return 0 if text.strip() == "0" else _size(text)


def _size(text: str) -> int:
    """An amount of memory in bytes."""
    from causaldsl.plan.memory import parse_bytes

    try:
        return parse_bytes(text)
    except Mistake as mistake:
        raise argparse.ArgumentTypeError(f"{mistake.message}: {mistake.help}") from None
