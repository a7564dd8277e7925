"""Results for people: tables on the terminal, the page of a run, and pictures."""
