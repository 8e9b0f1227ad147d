"""Management commands of the explorer."""
