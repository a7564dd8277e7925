"""The illusion audit: its evidence, the rows of its table, its rule."""
