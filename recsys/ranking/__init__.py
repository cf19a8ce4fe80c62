"""The two-headed LightGBM ranker."""
