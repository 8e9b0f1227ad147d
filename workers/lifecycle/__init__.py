"""Heartbeats, cleanup, and taking back the jobs of workers that crashed."""
