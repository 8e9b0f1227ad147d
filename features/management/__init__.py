"""Management commands of the domain."""
