"""Steering runs: what may be requested, their lifecycle, and the texts they produce."""
