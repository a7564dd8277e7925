"""What a program of a stranger can and cannot do."""
