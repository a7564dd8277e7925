"""Pairs from other people's files, by rules that need no options (docs/data.md)."""
