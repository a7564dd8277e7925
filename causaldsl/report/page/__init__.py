"""`report.html`: one self-contained page that tells what a run asked, did and found.

The page needs no script and no other file. Every text that comes from a program or a run goes
through :mod:`causaldsl.report.html.markup`, which escapes it.
"""
