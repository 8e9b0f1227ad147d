"""The parameters of a request, and which of them an endpoint takes.

Every request begins with `temperature: 0` and `max_tokens`. A refusal that names a parameter
changes all requests after it: `max_tokens` becomes `max_completion_tokens`, a parameter that is not
taken is left out, and where a model has no system turn, its text goes in front of the user's.
"""

import re
import threading
from typing import Any

from workers.pipeline.autointerp.responses import ServerError

Message = dict[str, str]
LIMITS = ("max_tokens", "max_completion_tokens")
_NOT_TAKEN = re.compile(
    r"unsupported|not supported|n[o']t support|unrecogni[sz]ed|unknown|unexpected|not permitted|"
    r"not allowed|extra inputs|extra_forbidden|deprecated|only the default|does not allow|"
    r"incompatible|not available|cannot be used|removed",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system (?:role|message|turn|prompt|instruction)|role\W+system|roles? must alternate|"
    r"messages\[0\]\.role|'system'|developer instruction",
    re.IGNORECASE,
)


class Parameters:
    """What the requests of one run hold besides the prompt; shared by its threads."""

    def __init__(self) -> None:
        self._limits = list(LIMITS)
        self._values: dict[str, Any] = {"temperature": 0}
        self._system = True
        self._lock = threading.Lock()

    def body(self, model: str, messages: list[Message], most: int) -> dict[str, Any]:
        """Return the body of a request whose answer has at most `most` tokens."""
        with self._lock:
            prompt = messages if self._system else _in_one_turn(messages)
            limit = dict.fromkeys(self._limits[:1], most)
            return {"model": model, "messages": prompt, **self._values, **limit}

    def learn(self, error: ServerError, sent: dict[str, Any]) -> str | None:
        """Change what a refusal is about. Returns a sentence for the log, which is empty if another
        thread learned it already; None if the refusal is about something else.
        """
        text = f"{error.code} {error.message}"
        with self._lock:
            if name := _named_parameter(error, text, sent):
                if name not in self._values and name not in self._limits[:1]:
                    return ""
                return self._leave_out(name)
            if _NO_SYSTEM.search(f"{error.param} {text}") and len(sent["messages"]) > 1:
                changed, self._system = self._system, False
                return "It has no system turn: instructions go to the user's." if changed else ""
        return None

    def _leave_out(self, name: str) -> str:
        self._values.pop(name, None)
        if name not in self._limits:
            return f"It does not take {name}: requests go on without."
        self._limits.remove(name)
        if self._limits:
            return f"It does not take {name}: requests have {self._limits[0]} instead."
        return f"It does not take {name}: answers have no limit."


def _named_parameter(error: ServerError, text: str, sent: dict[str, Any]) -> str | None:
    """The parameter that a refusal says is not taken."""
    names = [name for name in sent if name not in ("model", "messages")]
    if not _NOT_TAKEN.search(text) and not ("temperature" in text and "must be" in text):
        return None
    if error.param in names:
        return error.param
    places = [(match.start(), name) for name in names if (match := re.search(rf"\b{name}\b", text))]
    return min(places)[1] if places else None


def _in_one_turn(messages: list[Message]) -> list[Message]:
    return [{"role": "user", "content": "\n\n".join(one["content"] for one in messages)}]
