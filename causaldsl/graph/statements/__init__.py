"""What each kind of definition compiles to, a file a statement."""
