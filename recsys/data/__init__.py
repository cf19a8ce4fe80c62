"""Interactions, catalog, preferences, splits, contracts and file layouts; pure, no I/O services."""
