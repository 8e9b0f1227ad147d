"""Views: parse, access, selector, render."""
