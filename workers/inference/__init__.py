"""Requests that a loaded model answers within seconds: questions and steering."""
