"""Routes, response assembly and problem handlers."""
