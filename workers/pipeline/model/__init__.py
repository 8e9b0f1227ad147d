"""The language model: loading, hook points, prompts and activations."""
