"""Runs the graph on a model. The first floor where torch may be imported."""
