"""One pass over a corpus to everything that a feature page shows."""
