"""Attributions: estimates by gradients, and how they compare with exact effects."""
