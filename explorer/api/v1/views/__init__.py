"""The addresses' answers, by noun: parse, access, selector, present."""
