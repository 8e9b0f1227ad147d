"""Corpora, conversations and token ids: everything before the model."""
