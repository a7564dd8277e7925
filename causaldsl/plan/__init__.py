"""From the graph of operations to work: what is run, from where, together with what, and when."""
