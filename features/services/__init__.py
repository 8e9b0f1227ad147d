"""What changes the database, by noun."""
