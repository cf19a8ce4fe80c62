"""PostgreSQL, S3 and the MLflow registry: the only place that does I/O."""
