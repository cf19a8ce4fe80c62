"""The local platform: PostgreSQL, an S3 server and MLflow on one machine, started, watched and stopped as one."""
