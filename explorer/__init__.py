"""Everything that speaks HTTP, and the project's configuration."""
