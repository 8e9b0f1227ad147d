"""The shapes of what goes in and out, by noun: each states its schema, and nothing else
decides it.
"""
