"""Changing features while the model runs: generation, dose response, causal effects."""
