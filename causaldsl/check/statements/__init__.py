"""The statements of the language: one file for each, or for a family, found by import."""
