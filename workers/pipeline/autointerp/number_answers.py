"""Numbers in an answer of a language model: a list of one for each text or token, or one rating.

A list may stand on its own, in JSON, at the beginning or end of an explanation, or as numbered
lines. Where an explanation holds several lists of the right length that differ, the one on a line
of its own counts, then the one after “answer:”; otherwise the answer is unread, never guessed.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from workers.pipeline.autointerp.answers import field_of, final_text, json_objects

Numbers = list[float]
LIST_FIELDS = (
    *("answers", "answer", "list", "results", "result", "labels", "predictions", "output"),
    *("scores", "values", "activations", "ratings", "response", "intruder", "number", "index"),
)
RATING_FIELDS = ("rating", "finalrating", "score", "answer")
WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_LIST = re.compile(r"\[[^\[\]]*\]")
_MARKED = re.compile(
    r"(?:answer|result|output|final list|list|intruder|odd one(?: out)?)\W*(?:\bis\b)?[\s:=*]*$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"^\W*(?:text\s*)?(\d+)\s*[\]).:*-]+\s*[*`]*(yes|no|true|false|\d+(?:\.\d+)?)\b", re.IGNORECASE
)
_RATING = re.compile(
    r"^[ \t*_#>~•\"'`-]*(?:final |my )?rating[\s*_`]*[:：=][\s*_]*(.*)$",
    re.MULTILINE | re.IGNORECASE,
)


def parse_numbers(answer: str, count: int, highest: int, whole: bool) -> Numbers | None:
    """Return the `count` numbers from 0 to `highest` in an answer, in order; None if it holds no
    such list. With `whole`, they must be whole numbers.
    """
    text = final_text(answer)

    def checked(value: Any) -> Numbers | None:
        numbers = _numbers(value)
        if numbers is None or len(numbers) != count:
            return None
        fits = all(0 <= one <= highest and not (whole and one % 1) for one in numbers)
        return numbers if fits else None

    for value in reversed(list(json_objects(text))):
        if numbers := checked(_list_of(value, count)):
            return numbers
    return _listed(text, checked) or _unlisted(text, count, checked)


def parse_rating(answer: str) -> int | None:
    """Return the rating in an answer: what follows its last RATING, that of JSON, or the whole
    answer. None if that is not 0, 1 or 2.
    """
    text = final_text(answer)
    if ratings := _RATING.findall(text):
        return _rating(ratings[-1])
    for value in reversed(list(json_objects(text))):
        has_rating, rating = field_of(value, RATING_FIELDS)
        if has_rating:
            return None if isinstance(rating, bool) else _rating(str(rating))
    return _rating(text)


def _rating(text: str) -> int | None:
    """The rating at the beginning of a text that may go on with words, but with no other number."""
    remarks = re.sub(r"\([^()]*\)", "", re.sub(r"[*_`\"'\[\]]", "", text)).strip()
    match = re.fullmatch(
        r"([012])(?:\.0+)?(?:\s*/\s*2|\s+(?:out )?of 2)?(?:[\s.,:;–—-]+(\D*))?", remarks
    )
    if match is None or re.match(r"(?:or|to|and|if|out|of)\b", match[2] or ""):
        return None
    return int(match[1])


def _numbers(value: Any) -> Numbers | None:
    """The numbers in a list of JSON; `true` and "yes" are 1."""
    values = value if isinstance(value, list) else [value]
    numbers = [_number(one) for one in values]
    return None if None in numbers else [one for one in numbers if one is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        if value.strip().lower() in WORDS:
            return WORDS[value.strip().lower()]
        if not re.fullmatch(r"\s*\d{1,6}(\.\d{1,20})?\s*", value, re.ASCII):
            return None
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _list_of(value: dict[str, Any], count: int) -> Any:
    """The list of a JSON object: a field of it, or its values if they are numbered 1 to `count`."""
    names = [re.sub(r"\D+", "", str(name)) for name in value]
    if count > 1 and names == [str(number) for number in range(1, count + 1)]:
        return list(value.values())
    has_list, numbers = field_of(value, LIST_FIELDS)
    return numbers if has_list else None


def _listed(text: str, checked: Callable[[Any], Numbers | None]) -> Numbers | None:
    """The list in brackets that is the answer."""
    lists = [
        (match, numbers) for match in _LIST.finditer(text) if (numbers := checked(_json(match)))
    ]
    if not lists:
        return None
    for is_answer in (_has_own_line, _is_marked):
        if chosen := [numbers for match, numbers in lists if is_answer(text, match)]:
            return chosen[-1]
    first, last = lists[0], lists[-1]
    begins = not text[: first[0].start()].strip(" *`") and not _goes_on(text, first[0])
    ends = not text[last[0].end() :].strip(" *`.")
    if begins and not ends:
        return first[1]
    if (ends and not begins) or all(numbers == first[1] for _, numbers in lists):
        return last[1]
    return None


def _json(match: re.Match[str]) -> Any:
    text = re.sub(r",\s*\]$", "]", match[0])
    for word in ("true", "false", "yes", "no"):
        text = re.sub(rf"(?<![\w\"']){word}(?![\w\"'])", f'"{word}"', text, flags=re.IGNORECASE)
    try:
        return json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return None


def _has_own_line(text: str, match: re.Match[str]) -> bool:
    before = text[: match.start()].rpartition("\n")[2].strip(" *`>#")
    after = text[match.end() :].partition("\n")[0].strip(" *`.")
    return not after and (not before or bool(_MARKED.fullmatch(before)))


def _is_marked(text: str, match: re.Match[str]) -> bool:
    return bool(_MARKED.search(text[: match.start()].rpartition("\n")[2]))


def _goes_on(text: str, match: re.Match[str]) -> bool:
    """Whether the list is one of several that are named side by side, or line by line."""
    if re.match(r"\s*(?:,|and|or|&|-|to)\s*(?:text\s*)?\[", text[match.end() :], re.IGNORECASE):
        return True
    return len(re.findall(r"^\s*\[", text, re.MULTILINE)) > 1


def _unlisted(text: str, count: int, checked: Callable[[Any], Numbers | None]) -> Numbers | None:
    """Numbers without brackets: all of the answer, or a line for each text."""
    plain = re.sub(
        r"^(?:the\s+)?(?:final\s+)?(?:answer|list|text)\W*(?:is\s+)?", "", text, flags=re.I
    )
    if re.fullmatch(r"[\d\s,.]+", plain):
        return checked(re.findall(r"\d+(?:\.\d+)?", plain))
    lines = [_NUMBERED.match(line) for line in text.splitlines() if line.strip()]
    rows = [line for line in lines if line]
    if count > 1 and [row[1] for row in rows] == [str(number) for number in range(1, count + 1)]:
        return checked([row[2] for row in rows])
    return None
