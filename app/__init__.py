"""The HTTP service that answers with the Production model."""
