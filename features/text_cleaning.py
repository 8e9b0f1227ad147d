"""Texts that people write: composed, on one line, without invisible characters except the joiners
that scripts and emoji need.
"""

import re
import unicodedata

from features.character_names import hidden_places
from features.models.label import LONGEST
from features.records import InvalidInput


def clean(text: str, longest: int = LONGEST) -> str:
    """One line of visible, composed (NFC) text; `InvalidInput` if it is empty or too long."""
    return _of_length(one_line(text), longest)


def clean_lines(text: str, longest: int) -> str:
    """`clean` for text of several lines, with at most one empty line in a row."""
    lines = "\n".join(one_line(line) for line in text.splitlines())
    return _of_length(re.sub(r"\n{3,}", "\n\n", lines).strip(), longest)


def one_line(text: str) -> str:
    """One line of visible, composed (NFC) text, which may be empty."""
    composed = unicodedata.normalize("NFC", text)
    hidden = hidden_places(composed)
    visible = "".join(
        " " if character.isspace() else character
        for place, character in enumerate(composed)
        if character.isspace() or (place not in hidden and unicodedata.category(character) != "Cs")
    )
    return " ".join(visible.split())


def _of_length(text: str, longest: int) -> str:
    if not text:
        raise InvalidInput("text", "Write at least one word.")
    if len(text) > longest:
        raise InvalidInput("text", f"At most {longest:,} characters; this has {len(text):,}.")
    return text
