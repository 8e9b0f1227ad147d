"""Token-level ground truth: what is true of each token of a document, by a table of concepts
(`catalogue`).
"""
