"""What lives outside the process: PostgreSQL, user histories, the response cache."""
