"""Planted models for the audit: how they are built, what is true of them, and their cases."""
