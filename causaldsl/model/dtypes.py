"""The precisions in which a model can be run."""

DTYPES = ("float32", "float64", "bfloat16")
