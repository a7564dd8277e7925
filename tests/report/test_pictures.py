"""DOT as SVG, PNG and PDF: each is a real picture, and the same one each time."""

from __future__ import annotations

import re
import zlib

import pytest

from causaldsl.diagnostics import RunFailure
from causaldsl.report.pathways.draw import trace_dot
from causaldsl.report.pictures import render_dot
from tests.report.synthetic import trace

PLAIN = 'digraph { a [label="résumé"]; a -> b [label="share \N{MINUS SIGN}7%"] }'
STARTS = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.mark.parametrize("dot", [PLAIN, trace_dot(trace(12), "t", "m")], ids=["graph", "trace"])
@pytest.mark.parametrize("suffix", STARTS)
def test_every_format_is_written_the_same_each_time(dot, suffix, tmp_path):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    render_dot(dot, first)
    render_dot(dot, second)
    assert first.read_bytes().startswith(STARTS[suffix])
    assert first.read_bytes() == second.read_bytes()


def test_a_pdf_holds_text_and_lines(tmp_path):
    render_dot(trace_dot(trace(12), "pathways", "m"), tmp_path / "x.pdf")
    page = _content((tmp_path / "x.pdf").read_bytes())
    assert "(MLP 20)" in page
    assert "(Trace pathways)" in page
    curves = re.findall(r" c$| c ", page)
    assert len(curves) > sum(edge.shown for edge in trace(12).edges)


def test_a_format_that_nobody_writes_is_refused(tmp_path):
    with pytest.raises(RunFailure, match=r"could not draw x\.docx"):
        render_dot(PLAIN, tmp_path / "x.docx")


def _content(data: bytes) -> str:
    """The drawing commands of a PDF's page."""
    import base64

    streams = re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)
    texts = []
    for stream in streams:
        try:
            raw = zlib.decompress(base64.a85decode(stream.strip(), adobe=False))
        except ValueError:
            raw = zlib.decompress(base64.a85decode(b"<~" + stream.strip(), adobe=True))
        texts.append(raw.decode("latin-1"))
    return "\n".join(texts)
