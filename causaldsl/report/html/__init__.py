"""Pieces of a page: markup, numbers, tables, pictures and program text as HTML."""
