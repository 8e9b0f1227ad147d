"""The map of an SAE: its features in the plane, and clusters of them."""
