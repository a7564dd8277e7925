"""Results as rows of text, for the terminal and for docs/performance.md alike."""

from __future__ import annotations

from typing import Any

from rich.table import Table

COMPARED = ("work", "side", "before", "time", "by the first", "single ratios", "differs by")
LIMITED = ("work", "floating-point operations", "machine's rate", "least time", "took", "share")

GPU = ("work", "side", "time", "by ours", "single ratios", "kernels", "limit; differs by")


def comparison_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each side of each comparison, in the columns ``COMPARED``."""
    rows = []
    for comparison in results["comparisons"]:
        first, *others = comparison["sides"]
        times = (_before(first), seconds(first["seconds"]))
        rows.append((comparison["name"], first["name"], *times, "", "", ""))
        rows += [_side(side) for side in others]
    return rows


def _side(side: dict[str, Any]) -> tuple[str, ...]:
    if "error" in side:
        return ("", side["name"], "", "could not run", "", side["error"], "")
    ratios = side["all_ratios"]
    return (
        "",
        side["name"],
        _before(side),
        seconds(side["seconds"]),
        f"{side['ratio']:.3g}",
        f"{min(ratios):.2g} to {max(ratios):.2g}",
        f"{side['difference']:.0e}" if side["difference"] else "",
    )


def _before(side: dict[str, Any]) -> str:
    """What comes once, before the steps that are timed."""
    return seconds(side["parts"]["before"]) if "before" in side["parts"] else ""


def limit_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each piece of work, in the columns ``LIMITED``."""
    return [
        (
            f"{limit['name']}: {limit['about']}",
            f"{limit['flops'] / 1e9:.3g} G",
            f"{limit['flops_per_second'] / 1e9:.3g} G/s",
            seconds(limit["least_seconds"]),
            seconds(limit["seconds"]),
            f"{100 * limit['share']:.0f}%",
        )
        for limit in results["limits"]
    ]


def gpu_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each side of each comparison on a GPU, in the columns ``GPU``."""
    rows = []
    for model, records in results["models"].items():
        for record in records:
            first, *others = record["sides"]
            run, limit = record["whole_run"], record.get("limit")
            kernels = f"{100 * run['share']:.0f}%" if "share" in run else ""
            share = f"{100 * limit['share']:.0f}% ({limit['by']})" if limit else ""
            name = f"{model} {record['name']}"
            rows.append((name, first["name"], seconds(first["seconds"]), "", "", kernels, share))
            for side in others:
                *_, time, ratio, single, differs = _side(side)
                rows.append(("", side["name"], time, ratio, single, "", differs))
    return rows


def overhead_lines(results: dict[str, Any]) -> list[str]:
    """What a run costs beside arithmetic."""
    found = results["overhead"]
    if found is None:
        return []
    return [
        f"{found['program']}: {seconds(found['whole'])} from start to end, of which "
        f"{seconds(found['arithmetic'])} arithmetic and {seconds(found['weights'])} reading the "
        f"weights; the rest is {100 * found['share']:.1f}%",
        f"a process that only imports torch: {seconds(found['torch'])}; without that "
        f"the rest is {100 * found['own_share']:.1f}%",
        f"start-up until the first clean run, less reading the weights: "
        f"{seconds(found['start_up'])}; less that import too: {seconds(found['own_start_up'])}",
        f"medians of {found['repetitions']}, {found['date']}: `{found['command']}`",
    ]


def comparison_table(results: dict[str, Any]) -> Table:
    return table(
        "Times (medians), and each by that of the first side", COMPARED, comparison_rows(results)
    )


def limit_table(results: dict[str, Any]) -> Table:
    return table("Against the machine's matrix multiplication", LIMITED, limit_rows(results))


def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def seconds(value: float) -> str:
    """A time with its unit, three digits."""
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"


GROWN = (
    "",
    "pairs",
    "tokens",
    "check and compile",
    "clean runs",
    "whole run",
    "memory over the model's",
)


def growth_rows(axis: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each point of an axis, in the columns ``GROWN``."""
    return [
        (
            f"{point['at']:,}",
            f"{point['pairs']:,}",
            str(point["tokens"]),
            seconds(point["check_s"] + point["compile_s"]),
            seconds(point["clean_s"]),
            seconds(point["seconds"]),
            f"{point['more_bytes'] / 1e6:,.0f} MB",
        )
        for point in axis["points"]
    ]
