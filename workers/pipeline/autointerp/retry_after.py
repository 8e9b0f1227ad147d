"""When an endpoint that limits its rate wants to be asked again."""

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*(?:h|hours?))?\s*(?:(\d+(?:\.\d+)?)\s*(?:m|min|minutes?)(?!s))?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*(?:s|seconds?))?\s*(?:(\d+(?:\.\d+)?)\s*(?:ms|milliseconds?))?",
    re.IGNORECASE,
)
_MESSAGE = re.compile(
    r"(?:(?:try again|retry|wait)[\w\s]{0,20}?(?:in|after|for)?|retryDelay\W+)\s*"
    r"(\d[\d.hmsindutelco ]*)",
    re.IGNORECASE,
)


def seconds_until_retry(headers: Mapping[str, str], message: str) -> float | None:
    """Return the seconds to wait, by `retry-after` (seconds or a date), `retry-after-ms`, the reset
    of a limit that is used up, or the message (“try again in 1m20s”); None if nothing says so.
    """
    milliseconds, plain = _number(headers.get("retry-after-ms")), headers.get("retry-after", "")
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = _number(plain)
    if seconds is None:
        seconds = _until(plain) if plain else None
    if seconds is not None:
        return seconds
    resets = [_reset(headers, kind) for kind in ("requests", "tokens", "input-tokens", "")]
    if known := [one for one in resets if one is not None]:
        return max(known)
    match = _MESSAGE.search(message)
    return _duration(match[1].strip(" .")) if match else None


def _reset(headers: Mapping[str, str], kind: str) -> float | None:
    """The reset of one limit of which nothing remains."""
    suffix = f"-{kind}" if kind else ""
    for prefix in ("x-ratelimit", "anthropic-ratelimit"):
        remaining, reset = f"{prefix}-remaining{suffix}", f"{prefix}-reset{suffix}"
        if prefix.startswith("anthropic"):
            remaining, reset = f"{prefix}-{kind}-remaining", f"{prefix}-{kind}-reset"
        if _number(headers.get(remaining, "")) == 0 and (text := headers.get(reset)):
            number = _number(text)
            if number is None:
                return _duration(text) if _duration(text) is not None else _until(text)
            if number > 1e11:
                number /= 1000
            return max(0.0, number - time.time()) if number > 1e8 else number
    return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _duration(text: str) -> float | None:
    """Seconds of “6m0s”, “120ms”, “1.5 seconds” or a plain number."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return _number(text)
    hours, minutes, seconds, milliseconds = (float(one or 0) for one in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _until(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, moment - time.time())
