"""The commands, one file each: options, the call of `causaldsl.api`, and what is printed of it."""
