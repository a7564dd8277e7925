"""The functions that evaluate the words of the language, a file a family."""
