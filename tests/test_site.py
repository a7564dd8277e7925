"""The docs as a site: every page can be reached, and every link leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_every_page_is_in_the_contents() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    first, *topics = yaml.safe_load(text)["nav"]
    listed = [first, *(page for topic in topics for pages in topic.values() for page in pages)]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert sorted(listed) == sorted([*pages, "experiments/README.md"])


def test_the_first_page_says_what_each_page_is_for() -> None:
    first = (ROOT / "docs/README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in first, path.name


@pytest.mark.soak
def test_the_site_is_built(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'causaldsl[docs]'")
    built = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "../programs/library/ravel.cpatch" in (built / "library/index.html").read_text()
    assert (built / "programs/library/ravel.cpatch").is_file()
    assert (built / "search/search_index.json").is_file()
