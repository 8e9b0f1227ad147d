"""URL patterns: root.py, and one file per prefix."""
