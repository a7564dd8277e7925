"""What all pictures by matplotlib share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Told apart in black and white too, by their lines (Okabe and Ito's colours).
LOOKS = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."))


def start() -> Any:
    """Matplotlib's pyplot, set up so that the same numbers give the same file."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "causaldsl"
    matplotlib.rcParams["svg.fonttype"] = "none"
    import matplotlib.pyplot as plt

    return plt


def subplots(size: tuple[float, float], rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of this size (inches) and its axes below one another (an array of ``rows``)."""
    options |= {"squeeze": False, "figsize": size, "layout": "constrained"}
    figure, axes = start().subplots(rows, 1, **options)
    return figure, axes[:, 0]


def save(figure: Any, path: Path) -> None:
    """Write a figure, without the date, and close it."""
    import matplotlib.pyplot as plt

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(path, dpi=150, metadata=undated.get(path.suffix, {}))
    plt.close(figure)
