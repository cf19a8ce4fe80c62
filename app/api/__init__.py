"""Routes and problem handlers."""
