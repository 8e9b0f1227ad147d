"""Writing what the pipeline yields into PostgreSQL."""
