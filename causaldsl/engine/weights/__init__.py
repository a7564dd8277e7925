"""A model's weights: from its files to tensors, matrices and nonlinearities."""
