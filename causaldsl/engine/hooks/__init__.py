"""The reference backend: hooks around whole forward passes."""
