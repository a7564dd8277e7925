"""What makers make: one file for each kind of data, found by import."""
