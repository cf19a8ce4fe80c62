"""Who may ask, how often, and how much work at a time."""
