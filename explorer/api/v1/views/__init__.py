"""Views by noun: parse, check access, select, present."""
