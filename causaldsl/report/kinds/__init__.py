"""One file for each kind of record, which holds all that shows it; `base.py` says how."""
