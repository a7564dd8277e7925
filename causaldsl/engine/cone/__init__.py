"""The cone backend: only what an edit can change is computed."""
