"""Questions to loaded models, and the activations of typed text."""
