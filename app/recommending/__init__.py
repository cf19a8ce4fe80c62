"""From a request and a model version to recommendations with reasons."""
