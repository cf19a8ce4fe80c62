"""Per-user metrics, protocols, baselines and the promotion gate; sees tables only."""
