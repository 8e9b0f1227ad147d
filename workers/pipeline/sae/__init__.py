"""Sparse autoencoders: reading and writing them, importing, evaluating and matching."""
