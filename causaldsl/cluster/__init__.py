"""A run's work in other processes, on this machine and on others (docs/workers.md)."""
