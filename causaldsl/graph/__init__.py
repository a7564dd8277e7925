"""The graph of operations that a checked program compiles to."""
