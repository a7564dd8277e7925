"""Where the work of a run is done, as the command line and Python say it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from causaldsl.diagnostics import Mistake, suggest

KINDS = ("ray", "slurm")
LOCAL = "local"
"""An address: for Slurm, processes of this machine in the place of its jobs."""


@dataclass(frozen=True)
class Workers:
    """Who does the work of a run: ``count`` processes, each of which holds the model.

    ``on`` is `ray`, for a cluster on this machine that ends with the run, `ray:ADDRESS` for one
    that is there, `slurm` for jobs of an array, or `slurm:local` for the same jobs as processes of
    this machine. ``gpus`` may be a part of one on Ray. ``patience`` is after how many seconds
    without a sign of progress a worker is taken to hang; ``minutes`` what a Slurm job may take.

    Raises:
        Mistake: for a place that does not exist, or a number out of range.
    """

    on: str
    count: int = 2
    gpus: float = 0
    partition: str | None = None
    minutes: int = 240
    patience: float = 1800.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind == "slurm" and self.address not in ("", LOCAL)):
            help = suggest(self.on, (*KINDS, "slurm:local"), "places")
            raise Mistake("unknown-place", f"a run can't be done on `{self.on}`", help)
        if self.count < 1:
            help = "give at least one: --workers 1"
            raise Mistake("bad-workers", f"a run can't be done by {self.count} workers", help)
        if self.minutes < 1:
            help = "give at least one minute: --minutes 1"
            raise Mistake("bad-workers", f"a job can't end within {self.minutes} minutes", help)
        if not self.patience > 0:
            help = "give seconds: --patience 1800"
            raise Mistake("bad-workers", f"a worker can't be waited for {self.patience:g} s", help)
        whole = self.kind == "slurm"
        if not 0 <= self.gpus < inf or (whole and self.gpus != int(self.gpus)):
            help = f"give {'a whole number' if whole else 'a number'}, such as --gpus-per-worker 1"
            raise Mistake("bad-workers", f"a worker can't have {self.gpus:g} GPUs", help)

    @property
    def kind(self) -> str:
        return self.on.partition(":")[0]

    @property
    def address(self) -> str:
        return self.on.partition(":")[2]
