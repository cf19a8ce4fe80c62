"""The daily job: people from the pool, or generated ones, arrive in PostgreSQL."""
