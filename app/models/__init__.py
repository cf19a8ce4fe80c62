"""Model versions: the one in Production, its challenger, and what a request needs of a version."""
