"""What each word of the language means: its operands, options, type and documentation."""
