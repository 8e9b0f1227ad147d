"""Training SAEs on a stream of activations."""
