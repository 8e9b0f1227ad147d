"""The same reads and writes as the pages, for programs."""
