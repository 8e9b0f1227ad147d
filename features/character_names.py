"""Names of characters that cannot be seen, such as `U+200B`, for tokens and labels.

Named are control and format characters (zero widths, soft hyphens, marks and overrides of the
direction of text), fillers, private characters, and bytes that are no text. Joiners and variation
selectors are part of visible text where scripts and emoji need them, and have names elsewhere.
"""

import codecs
import re
import unicodedata

BLANKS = "\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Blanks other than the space, the tab and line ends: seen in a text, but not alone."""
JOINERS = (
    "\u034f\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef"
)
"""Characters that shape their neighbours: joiners, variation selectors, tags of flags."""
CONTROLS = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b"
    "\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufdd0-\ufdef\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f"
    "\U000e0080-\U000e00ff\U000e01f0-\U0010ffff"
)
HIDDEN = re.compile(f"[{CONTROLS}{JOINERS}]")
HIDDEN_OR_BLANK = re.compile(f"[{CONTROLS}{JOINERS}{BLANKS}]")
JOINER = re.compile(f"[{JOINERS}]")
ZERO_WIDTH_JOINERS = "\u200c\u200d"
WRITTEN_NAME = re.compile(r"[‹<]?U\+([0-9A-Fa-f]{4,6})[›>]?")
WRITTEN_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
DOTTED_CIRCLE = "\u25cc"
"""Carries a combining mark that has no letter to stand on."""
MAX_NAMES = 3
"""Equal characters in a row that are named one by one; more are counted."""


def code_point(character: str) -> str:
    """The name of a character by its number: U+200B."""
    return f"U+{ord(character):04X}"


def unicode_name(character: str) -> str:
    """The name that Unicode gives to a character, in small letters."""
    return unicodedata.name(character, "control character").lower()


def name_hidden(text: str) -> str:
    """Return the text of a token, for a list or a sentence, with names for what cannot be seen.

    A text of nothing else is its names (`U+200B U+00AD`); inside a text they are set apart
    (`a‹U+200B›b`).
    """
    if text.isascii() and text.isprintable():
        return text
    places = hidden_places(text, HIDDEN_OR_BLANK)
    if unicodedata.category(text[0])[0] == "M" and 0 not in places:
        return DOTTED_CIRCLE + text
    if not places:
        return text
    if len(places) == len(text):
        return _names(text)
    return "".join(
        f"‹{code_point(character)}›" if place in places else character
        for place, character in enumerate(text)
    )


def hidden_places(text: str, hidden: re.Pattern[str] = HIDDEN) -> set[int]:
    """The places of characters that cannot be seen, without the joiners that their neighbours
    need.
    """
    places = {match.start() for match in hidden.finditer(text)}
    return {place for place in places if not _is_needed(text, place)} if places else places


def token_text(raw: bytes) -> str:
    """The text of one token, whose bytes that are no UTF-8 are written as `<0xE2>`."""
    return raw.decode("utf-8", "name_bytes")


def characters_of_names(text: str) -> str:
    """The text that `name_hidden` has shown as `text`."""
    single = re.sub(r"(?<=[0-9A-F]) (?=U\+)", "", text).removeprefix(DOTTED_CIRCLE)
    return WRITTEN_NAME.sub(_character, single)


def bytes_of_names(text: str) -> bytes:
    """The bytes of a token that `token_text` and `name_hidden` have shown as `text`."""
    parts = WRITTEN_BYTE.split(characters_of_names(text))
    return b"".join(
        bytes([int(part, 16)]) if number % 2 else part.encode("utf-8", "replace")
        for number, part in enumerate(parts)
    )


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else match[0]


def _names(text: str) -> str:
    runs = re.finditer(r"(.)\1*", text, re.DOTALL)
    return " ".join(
        f"{code_point(run[1])}×{len(run[0])}"
        if len(run[0]) > MAX_NAMES
        else " ".join([code_point(run[1])] * len(run[0]))
        for run in runs
    )


def _is_needed(text: str, place: int) -> bool:
    """Whether a joiner stands between characters that it joins, or after one that it varies."""
    character = text[place]
    if not JOINER.match(character):
        return False
    before = _visible_neighbour(text, place, -1)
    if character in ZERO_WIDTH_JOINERS:
        after = _visible_neighbour(text, place, 1)
        return bool(before and after) and not (before + after).isascii()
    if "\ufe00" <= character <= "\ufe0f":
        return bool(before)  # also of digits: 1️⃣
    return bool(before) and not before.isascii()


def _visible_neighbour(text: str, place: int, step: int) -> str:
    """The nearest character on one side that is no joiner; empty if it is a blank or hidden."""
    place += step
    while 0 <= place < len(text) and JOINER.match(text[place]):
        place += step
    if not 0 <= place < len(text) or text[place].isspace() or HIDDEN.match(text[place]):
        return ""
    return text[place]


def _name_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(f"<0x{byte:02X}>" for byte in wrong), error.end


codecs.register_error("name_bytes", _name_bytes)
