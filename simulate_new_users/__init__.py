"""The daily job: users from the pool, or generated ones, arrive in PostgreSQL."""
