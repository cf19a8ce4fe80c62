"""Folders of files as they are found in the wild, read into our own terms by `reading.read_source`."""
