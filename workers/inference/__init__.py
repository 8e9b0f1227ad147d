"""Work that a loaded model does within seconds: inference requests and steering."""
