"""Token ids to what people read: bytes joined where a token splits a UTF-8 character, whitespace made visible."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Vocabulary = Mapping[int, tuple[bytes, bool]]
"""Token id to (exact bytes, special)."""
UNKNOWN = ("\ufffd".encode(), False)
"""In the place of a token that the vocabulary lacks."""


class Span(NamedTuple):
    """One box of a heatmap: usually one token, several where only together they make whole characters.

    `value` is the largest activation of its tokens (None where none fires), `strength` its alpha from 0 to 1.
    """

    text: str
    position: int
    token_ids: tuple[int, ...]
    value: float | None
    strength: float
    peak: bool
    special: bool


def spans(
    token_ids: Sequence[int],
    vocabulary: Vocabulary,
    positions: Sequence[int] = (),
    values: Sequence[float] = (),
    peak: int | None = None,
    maximum: float = 0.0,
    first: int = 0,
) -> list[Span]:
    """The heatmap of one context, or of a part that begins at its token `first`; positions count from the context's first token.

    `maximum` is the feature's own, which is full strength.
    """
    fired = dict(zip(positions, values, strict=True))
    boxes = []
    for start, stop, text in _characters(token_ids, vocabulary):
        place, special = start + first, vocabulary.get(token_ids[start], (b"", False))[1]
        if stop - start == 1:  # mostly; a page has thousands of boxes
            value, here = fired.get(place), peak == place
        else:
            inside = range(place, stop + first)
            value, here = max((fired[i] for i in inside if i in fired), default=None), peak in inside
        ids = tuple(token_ids[start:stop])
        boxes.append(Span(text, place, ids, value, 0.0 if value is None else alpha(value, maximum), here, special))
    return boxes


def around(boxes: Sequence[Span], before: int, after: int) -> list[Span]:
    """The boxes from `before` boxes before the peak to `after` after it; all characters stay whole."""
    middle = next((i for i, box in enumerate(boxes) if box.peak), 0)
    return list(boxes[max(middle - before, 0) : middle + after + 1])


def alpha(value: float, maximum: float) -> float:
    """Strength of a box on a log scale: 0 at nothing, 1 at the feature's maximum, about 0.55 at a tenth of it."""
    if value <= 0 or maximum <= 0:
        return 0.0
    return min(math.log1p(20 * value / maximum) / math.log(21), 1.0)


def text_of(token_ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """Plain text of some tokens, special tokens and all; bytes that are no UTF-8 become U+FFFD."""
    return b"".join(vocabulary.get(i, (b"", False))[0] for i in token_ids).decode("utf-8", "replace")


def visible(text: str) -> str:
    """One token's text for a list: spaces and line ends shown as signs."""
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")


def short(text: str) -> str:
    """One token's text inside a sentence: without blanks around, or, where it is nothing else, its blanks counted."""
    return text.strip() or re.sub("␣{3,}", lambda run: f"␣×{len(run[0])}", visible(text))


def in_sentence(token_ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """Tokens one by one as `short` has them, each text once."""
    return list(dict.fromkeys(short(text_of([token_id], vocabulary)) for token_id in token_ids))


def _characters(token_ids: Sequence[int], vocabulary: Vocabulary) -> list[tuple[int, int, str]]:
    """Cut where the bytes so far are whole characters: (start, stop, text); a broken character ends its box."""
    cuts, start, pending = [], 0, b""
    for i, token_id in enumerate(token_ids):
        raw, special = vocabulary.get(token_id, UNKNOWN)
        if not pending and raw and raw[-1] < 0x80:  # mostly
            cuts.append((i, i + 1, raw.decode("utf-8", "replace")))
            start = i + 1
            continue
        if special and pending:
            cuts.append((start, i, pending.decode("utf-8", "replace")))
            start, pending = i, b""
        pending += raw
        if special or not pending or pending[-1] < 0x80 or not _unfinished(pending):
            cuts.append((start, i + 1, pending.decode("utf-8", "replace")))
            start, pending = i + 1, b""
    if pending:
        cuts.append((start, len(token_ids), pending.decode("utf-8", "replace")))
    return cuts


def _unfinished(raw: bytes) -> bool:
    """Whether `raw` ends inside a character that more bytes could complete."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
        if byte < 0x80:
            return False
    return False
