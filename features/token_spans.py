"""Token ids to what people read: bytes joined where a token splits a UTF-8 character, whitespace
made visible.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from features.character_names import name_hidden, token_text

Vocabulary = Mapping[int, tuple[bytes, bool]]
"""Token id to (exact bytes, special)."""
UNKNOWN = ("\ufffd".encode(), False)
"""In the place of a token that the vocabulary lacks."""


class Span(NamedTuple):
    """One box of a heatmap: usually one token, several where only together they make whole
    characters.

    `value` is the activation of its tokens that is largest in absolute value (None where none
    fires), `strength` its alpha from 0 to 1. `left_out` is whether one of its tokens does not count
    although it is not special.
    """

    text: str
    position: int
    token_ids: tuple[int, ...]
    value: float | None
    strength: float
    peak: bool
    special: bool
    left_out: bool = False


def spans(
    token_ids: Sequence[int],
    vocabulary: Vocabulary,
    positions: Sequence[int] = (),
    values: Sequence[float] = (),
    peak: int | None = None,
    maximum: float = 0.0,
    first: int = 0,
    left_out: Sequence[int] = (),
) -> list[Span]:
    """The heatmap of one context, or of a part that begins at its token `first`; positions count
    from the context's first token.

    `maximum` is the feature's own, which is full strength. `left_out` are the positions of tokens
    that do not count.
    """
    fired = dict(zip(positions, values, strict=True))
    boxes: list[Span] = []
    start, known, make = (
        0,
        vocabulary.get,
        tuple.__new__,
    )  # of everything on a page this is done most often
    while start < len(token_ids):
        token, place = token_ids[start], start + first
        raw, special = known(token, UNKNOWN)
        if raw and raw[-1] < 0x80:
            value = fired.get(place)
            strength = 0.0 if value is None else alpha(value, maximum)
            text = raw.decode("utf-8", "replace")
            boxes.append(
                make(
                    Span,
                    (
                        text,
                        place,
                        (token,),
                        value,
                        strength,
                        place == peak,
                        special,
                        place in left_out,
                    ),
                )
            )
            start += 1
        else:
            stop, text = _whole(token_ids, start, vocabulary)
            inside = range(place, stop + first)
            value, here = (
                strongest([fired[i] for i in inside if i in fired]),
                peak in inside,
            )
            strength = 0.0 if value is None else alpha(value, maximum)
            boxes.append(
                Span(
                    text,
                    place,
                    tuple(token_ids[start:stop]),
                    value,
                    strength,
                    here,
                    special,
                    any(i in left_out for i in inside),
                )
            )
            start = stop
    return boxes


def around(boxes: Sequence[Span], before: int, after: int) -> list[Span]:
    """The boxes from `before` boxes before the peak to `after` after it; all characters
    stay whole.
    """
    middle = next((i for i, box in enumerate(boxes) if box.peak), 0)
    return list(boxes[max(middle - before, 0) : middle + after + 1])


def alpha(value: float, maximum: float) -> float:
    """Strength of a box on a log scale: 0 at nothing, 1 at the feature's maximum, about 0.55 at a
    tenth of it; a value below zero is as strong as one above.
    """
    if maximum <= 0:
        return 0.0
    return min(math.log1p(20 * abs(value) / maximum) / math.log(21), 1.0)


def strongest(values: Collection[float]) -> float | None:
    """The value that is largest in absolute value; None where there is none."""
    return max(values, key=abs, default=None)


def text_of(token_ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """Plain text of some tokens, special tokens and all; bytes that are no UTF-8 become U+FFFD."""
    return b"".join(vocabulary.get(i, (b"", False))[0] for i in token_ids).decode(
        "utf-8", "replace"
    )


def visible(text: str) -> str:
    """One token's text for a list: spaces and line ends shown as signs, other characters that
    cannot be seen by their names.
    """
    signs = text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    return name_hidden(signs) if signs else signs


def short(text: str) -> str:
    """One token's text inside a sentence: without blanks around, or, where it is nothing else, its
    blanks counted; characters that cannot be seen by their names.
    """
    word = text.strip()
    if word:
        return name_hidden(word)
    return re.sub("␣{3,}", lambda run: f"␣×{len(run[0])}", visible(text))


def named_token(token_id: int, vocabulary: Vocabulary) -> str:
    """The text of one token by itself, with names for bytes that are no text alone."""
    return token_text(vocabulary.get(token_id, UNKNOWN)[0])


def in_sentence(token_ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """Tokens one by one as `short` has them, each text once."""
    return list(dict.fromkeys(short(named_token(token, vocabulary)) for token in token_ids))


def _whole(token_ids: Sequence[int], start: int, vocabulary: Vocabulary) -> tuple[int, str]:
    """Where the box that begins at `start` ends, as its bytes are whole characters there, and its
    text; a special token, or the end, cuts a character.
    """
    pending = b""
    for i in range(start, len(token_ids)):
        raw, special = vocabulary.get(token_ids[i], UNKNOWN)
        if special and pending:
            return i, pending.decode("utf-8", "replace")
        pending += raw
        if special or not pending or pending[-1] < 0x80 or not _unfinished(pending):
            return i + 1, pending.decode("utf-8", "replace")
    return len(token_ids), pending.decode("utf-8", "replace")


def _unfinished(raw: bytes) -> bool:
    """Whether `raw` ends inside a character that more bytes could complete."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
        if byte < 0x80:
            return False
    return False
