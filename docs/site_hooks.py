"""For mkdocs: pages link to programs, which lie beside the docs and become part of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: Any) -> Files:
    """Add what the pages link to beside the docs: programs, with what they read."""
    for path in sorted((ROOT / "programs").rglob("*")):
        if path.is_file():
            inside = str(path.relative_to(ROOT))
            files.append(File.generated(config, inside, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that leave the docs lead to the copies inside."""
    up = "../" * page.file.src_uri.count("/")
    return re.sub(rf"\]\({re.escape(up)}\.\./programs/", f"]({up}programs/", markdown)
