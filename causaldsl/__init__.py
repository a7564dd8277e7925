"""causaldsl: a declarative language for causal-intervention experiments on transformers."""

__version__ = "0.1.0"
