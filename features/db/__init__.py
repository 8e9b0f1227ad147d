"""What PostgreSQL can do that Django does not offer."""
