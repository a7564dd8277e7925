"""What is done with runs: repeated, compared, planned from and packed."""
