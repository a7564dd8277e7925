"""Parts of a page that are made: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

from __future__ import annotations


def with_part(text: str, name: str, part: str) -> str:
    """The page with one of its parts made anew."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{part}\n{end}{after}"
