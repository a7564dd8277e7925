"""Headless Chromium, which opens a page that measures another one in frames."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: apt-get install chromium"
)

_FRAMES = """<!DOCTYPE html><body><script>
const found = {}, widths = WIDTHS;
let left = widths.length;
LOOK
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:800px;border:0`;
  frame.onload = () => {
    try { found[width] = look(frame); } catch (error) { found[width] = String(error.stack); }
    if (--left === 0) {
      const out = document.createElement("pre");
      out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
    }
  };
  frame.src = PAGE;
  document.body.append(frame);
}
</script></body>"""


def in_frames(look: str, page: Path, widths: Sequence[int]) -> str:
    """A page that opens another one in frames of these widths, and finds what the script's
    function ``look(frame)`` gives of each, or the error that ends it; for :func:`found_by`."""
    filled = {"WIDTHS": json.dumps(list(widths)), "PAGE": json.dumps(page.as_uri()), "LOOK": look}
    return re.sub("|".join(filled), lambda match: filled[match[0]], _FRAMES)


def chromium(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--allow-file-access-from-files", "--virtual-time-budget=5000"),
            *(f"--user-data-dir={folder / 'browser'}", *arguments),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def found_by(folder: Path, page: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a page of the folder writes into its element `found`, as JSON."""
    shown = chromium(folder, *arguments, "--dump-dom", (folder / page).as_uri())
    match = re.search(r'<pre id="found">(.*?)</pre>', shown, re.S)
    assert match, shown[-2000:]
    return json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
