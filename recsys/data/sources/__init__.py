"""Source files in registered layouts, read by `reading.read_source`."""
