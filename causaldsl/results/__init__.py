"""What a run leaves: records and where they are kept."""
