"""What is kept in memory, what goes to files, and what happens when memory runs out."""
