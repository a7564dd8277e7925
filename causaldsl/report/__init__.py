"""Results for people: tables, plots and graphviz pictures."""
