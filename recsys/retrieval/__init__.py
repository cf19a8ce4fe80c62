"""Candidate generators: from a history to scores over the whole catalog."""
