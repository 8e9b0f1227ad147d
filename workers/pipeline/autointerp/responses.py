"""Read the body of a response to a chat completion: the text, the tokens that it cost, and errors,
in the shapes of OpenAI, vLLM, llama.cpp, Ollama, OpenRouter, Gemini, DeepSeek and Anthropic.

Thoughts that stand in a field of their own (`reasoning_content`, `reasoning`, `thinking`) are never
the answer. A text that was cut off, filtered or refused is unread: `error` says why.
"""

import json
import math
import re
from typing import Any, NamedTuple

from workers.pipeline.autointerp.answers import encodable

MAX_TOKENS_COUNTED = 10**8
"""More tokens than that in one answer are a mistake of the server, and counted as this many."""
TEXT_PARTS = (None, "text", "output_text", "answer")
CUT_OFF = ("length", "max_tokens", "max_output_tokens", "model_length", "token_limit")
FILTERED = ("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "refusal")


class Usage(NamedTuple):
    """Tokens of a request, and its cost in US dollars if the server says it. `estimated` is whether
    a count is our own estimate.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    estimated: bool = False

    def __add__(self, other: object) -> "Usage":
        """The sum of two requests."""
        if not isinstance(other, Usage):
            return NotImplemented
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(costs) if costs else None,
            self.estimated or other.estimated,
        )


class Message(NamedTuple):
    """What a response says. `error` is empty if `text` is an answer; `thoughts` is the length of
    what was thought in a field of its own.
    """

    text: str
    error: str
    usage: Usage
    thoughts: int = 0


class ServerError(NamedTuple):
    """An error in the body of a response: status (0 if unknown), message, code and parameter."""

    status: int
    message: str
    code: str = ""
    param: str = ""


class InvalidResponse(Exception):
    """The response is no chat completion; `usage` is what it cost all the same."""

    def __init__(self, reason: str, usage: Usage = Usage()) -> None:  # noqa: B008  # immutable
        super().__init__(reason)
        self.usage = usage


def parse_body(text: str) -> tuple[Message | None, ServerError | None, Usage]:
    """Return the message in a body, or the error, and the usage.

    Raises `InvalidResponse` if it has neither.
    """
    body = _json_of(text)
    usage = _usage_of(body)
    choices = _choices_of(body)
    error = error_of(body)
    if not choices:
        if error is None:
            raise InvalidResponse(f"no chat completion: {encodable(text[:80])!r}", usage)
        return None, error, usage
    messages = [_message_of(choice, usage) for choice in choices]
    answers = [one for one in messages if not one.error]
    if not answers and (inner := error or error_of(choices[0])):
        return None, inner, usage
    return (answers or messages)[0], None, usage


def error_of(body: Any) -> ServerError | None:
    """Return the error of a body, None if it has none."""
    if not isinstance(body, dict):
        return None
    error = body.get("error") or body.get("errors")
    if not error and (body.get("object") == "error" or "choices" not in body):
        error = body.get("detail") or (body if isinstance(body.get("message"), str) else None)
    if isinstance(error, list) and (errors := [one for one in error if isinstance(one, dict)]):
        error = {"message": "; ".join(map(_text_of_error, errors[:3])), **errors[0]}
    if isinstance(error, dict):
        inner = error.get("error")
        error = inner if isinstance(inner, dict) else error
        codes = [error.get(name) for name in ("code", "status", "type")]
        code = " ".join(str(one) for one in codes if one)
        status = next((one for one in map(_status_of, codes) if one), 0)
        return ServerError(status, _text_of_error(error), code, str(error.get("param") or ""))
    return ServerError(0, str(error)[:500]) if error else None


def _json_of(text: str) -> Any:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = _joined_stream(text)
    if isinstance(body, list) and len(body) == 1:  # Gemini's errors
        body = body[0]
    if not isinstance(body, dict):
        raise InvalidResponse(f"no chat completion: {encodable(text[:80])!r}")
    return body


def _joined_stream(text: str) -> Any:
    """The completion of a server that streams without being asked to."""
    lines = list[Any]()
    for line in text.splitlines():
        name, _, data = line.partition(":")
        try:
            lines.append(json.loads(data) if name == "data" else None)
        except (ValueError, RecursionError):
            continue
    chunks: list[dict[str, Any]] = [line for line in lines if isinstance(line, dict)]
    content, whole = "", dict[str, Any]()
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if value}
        for choice in _choices_of(chunk)[:1]:
            delta = choice.get("delta")
            content += _text_of(delta.get("content"))[0] if isinstance(delta, dict) else ""
            if choice.get("finish_reason"):
                whole["finish_reason"] = choice["finish_reason"]
    if chunks and "choices" in whole:
        whole["choices"] = [
            {"message": {"content": content}, "finish_reason": whole.get("finish_reason")}
        ]
    return whole or None


def _choices_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices that have a message; Ollama's and Anthropic's own shapes are one choice."""
    choices = body.get("choices")
    if isinstance(choices, list):
        return [
            one
            for one in choices
            if isinstance(one, dict)
            and (any(isinstance(one.get(n), dict) for n in ("message", "delta")) or "error" in one)
        ]
    if isinstance(body.get("message"), dict) and "content" in body["message"]:
        return [body]
    if isinstance(body.get("content"), list) and body.get("role") == "assistant":
        return [{**body, "message": body}]
    return []


def _message_of(choice: dict[str, Any], usage: Usage) -> Message:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text, refusal = _text_of(message.get("content"))
    refusal = refusal or (message["refusal"] if isinstance(message.get("refusal"), str) else "")
    names = ("reasoning_content", "reasoning", "thinking")
    thoughts = sum(len(message[name]) for name in names if isinstance(message.get(name), str))
    ends = ("finish_reason", "native_finish_reason", "stop_reason", "done_reason", "finishReason")
    reasons = [str(choice[name]).lower() for name in ends if choice.get(name)]
    text = encodable(text)
    return Message(text, _problem(text, refusal, reasons, message, thoughts), usage, thoughts)


def _problem(
    text: str, refusal: str, reasons: list[str], message: dict[str, Any], thoughts: int
) -> str:
    """Why the text is no answer; empty if it is one."""
    if any(reason in CUT_OFF for reason in reasons):
        spent = "" if text.strip() else ", all of it on thoughts"
        return f"the answer was cut off at its token limit{spent}"
    if refusal.strip():
        return f"the model refuses: {encodable(refusal.strip())[:200]}"
    if any(reason in FILTERED for reason in reasons):
        return "the answer was filtered by the endpoint"
    if text.strip():
        return ""
    if message.get("tool_calls") or message.get("function_call"):
        return "the model calls a tool instead of answering"
    return "the model thinks and gives no answer" if thoughts else "an empty answer"


def _text_of(content: Any) -> tuple[str, str]:
    """The text and the refusal in a content, which may be a list of parts. Thoughts are left
    out.
    """
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = content.get("parts", [content])
    texts, refusals = [], []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and not part.get("thought"):
            text, refusal = part.get("text"), part.get("refusal")
            if isinstance(text, str) and part.get("type") in TEXT_PARTS:
                texts.append(text)
            if isinstance(refusal, str):
                refusals.append(refusal)
    return "".join(texts), " ".join(refusals)


def _usage_of(body: dict[str, Any]) -> Usage:
    """The usage of a body, 0 where the server says nothing.

    Where the total exceeds its parts (Gemini, Grok), the rest is thoughts, which cost the same.
    """
    usage = next((body[name] for name in ("usage", "usageMetadata") if _is_dict(body, name)), body)
    prompt = _count(usage, "prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count")
    names = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count")
    completion = _count(usage, *names)
    details = usage.get("completion_tokens_details")
    thoughts = _count(details, "reasoning_tokens") if isinstance(details, dict) else 0
    total = _count(usage, "total_tokens", "totalTokenCount")
    completion = max(completion, total - prompt if prompt else 0, thoughts)
    return Usage(prompt, completion, _cost_of(usage))


def _is_dict(body: dict[str, Any], name: str) -> bool:
    return isinstance(body.get(name), dict)


def _count(usage: dict[str, Any], *names: str) -> int:
    for name in names:
        count = usage.get(name)
        if isinstance(count, int | float) and not isinstance(count, bool) and 0 < count < math.inf:
            return int(min(count, MAX_TOKENS_COUNTED))
    return 0


def _cost_of(usage: dict[str, Any]) -> float | None:
    """The dollars that OpenRouter states, with those of a provider whose key is the user's own."""
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 1e6:
        return None
    details = usage.get("cost_details")
    upstream = details.get("upstream_inference_cost") if isinstance(details, dict) else None
    if usage.get("is_byok") and isinstance(upstream, int | float) and 0 <= upstream < 1e6:
        return float(cost) + float(upstream)
    return float(cost)


STATUS_OF_CODE = (
    ("insufficient_quota|billing|credit|payment", 402),
    ("rate_limit|resource_exhausted|too_many|quota", 429),
    ("overloaded|server_error|internal|unavailable|timeout|capacity", 503),
    ("api_key|authentication|unauthenticated|unauthorized", 401),
    ("permission|forbidden", 403),
    ("model_not_found|not_found", 404),
    ("invalid|unsupported|unknown_parameter|bad_request|context_length", 400),
)


def _status_of(code: Any) -> int:
    """The HTTP status that a code of an error means; 0 if it means none."""
    if match := re.fullmatch(r"([1-5]\d\d)(?:\d\d)?(?:\.0)?", str(code)):
        return int(match[1])
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s-]+", "_", str(code or "")).lower()
    return next((status for words, status in STATUS_OF_CODE if re.search(words, text)), 0)


def _text_of_error(error: dict[str, Any]) -> str:
    message = error.get("message") or error.get("msg") or error.get("detail")
    place = error.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    text = f"{where}{message or json.dumps(error, default=str)[:200]}"
    return encodable(f"{text} {raw}" if isinstance(raw, str) else text)[:500]
