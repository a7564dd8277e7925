"""From a syntax tree to a checked program: names, types, shapes, positions."""
