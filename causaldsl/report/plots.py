"""What all pictures by matplotlib share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from causaldsl.shown import visible

# Told apart in black and white too, by their lines (Okabe and Ito's colours).
LOOKS = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."))


def subplots(size: tuple[float, float], rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of this size (inches) and its axes below one another (an array of ``rows``).

    It is made without pyplot, which would choose how the whole process shows figures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]


def save(figure: Any, path: Path) -> None:
    """Write a figure, without the date: the same numbers give the same file."""
    import matplotlib
    from matplotlib.text import Text

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    for text in figure.findobj(Text):  # a token or a class may have dollar signs
        text.set_parse_math(False)
        text.set_text(visible(text.get_text()))
    plain: Any = {"svg.hashsalt": "causaldsl", "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(plain):
        figure.savefig(path, dpi=150, metadata=undated.get(path.suffix, {}))
