"""Labels written and scored by a language model behind an OpenAI-compatible endpoint: plain data
in, plain data out.
"""
