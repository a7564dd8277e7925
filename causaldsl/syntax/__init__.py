"""Text to tree and back: parsing, the syntax tree, formatting."""
