"""The promotion gate: per-user metrics, paired comparison, guardrails and the decision, on data and types alone."""
