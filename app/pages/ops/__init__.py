"""`/ops`: what operators look at and do."""
