"""Dictionaries in a run: their weights, what they compute, and how a change of features is made."""
