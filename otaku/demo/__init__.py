"""The whole platform from ingest to recommendations, end to end: `otaku demo`."""
