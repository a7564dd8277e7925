"""Dictionaries of features in files: sparse autoencoders and transcoders, read without torch."""
