"""Tests: one file a behaviour, named as the noun it is about."""
