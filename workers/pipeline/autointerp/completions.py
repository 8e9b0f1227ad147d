"""One chat completion from an OpenAI-compatible endpoint, over HTTP.

POST {base_url}/chat/completions   {model, messages, temperature: 0, max_tokens}
Authorization: Bearer KEY
"""

import json
import logging
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from features.records import InvalidInput
from workers.pipeline.autointerp.budget import estimate_tokens
from workers.pipeline.autointerp.endpoint_urls import checked_address

log = logging.getLogger(__name__)

MAX_RESPONSE_BYTES = 1 << 20
Message = dict[str, str]


class Endpoint(NamedTuple):
    """An endpoint and its limits.

    `per_minute` is the most requests in a minute, 0 for no limit. `timeout` is in seconds. Prices
    are in US dollars for a million tokens, 0 if free. Errors name the endpoint by `name`: they are
    public, and the URL may be of a private network.
    """

    base_url: str
    model: str
    key: str = ""
    concurrency: int = 8
    per_minute: int = 0
    timeout: float = 60.0
    price_in: float = 0.0
    price_out: float = 0.0
    private_allowed: bool = True
    name: str = ""

    @property
    def description(self) -> str:
        """The endpoint, at the beginning of a sentence."""
        return f"The endpoint “{self.name}”" if self.name else "The endpoint"


class CompletionRequest(NamedTuple):
    """A prompt. `name` identifies the request to the caller; `most` is the maximum of tokens in the
    answer.
    """

    name: Any
    messages: list[Message]
    most: int


class Completion(NamedTuple):
    """The result of a request. `error` is empty if `text` is an answer. Tokens are as the server
    counts them; `seconds` is the time that the request took.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    error: str = ""


class RetryLater(Exception):
    """A temporary failure; retry after as many seconds as the server asks for, 0 if it does not
    say.
    """

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class InvalidResponse(Exception):
    """The response is no chat completion."""


def post_completion(
    http: httpx.Client, endpoint: Endpoint, request: CompletionRequest
) -> Completion:
    """Send one request and return its completion, without `seconds`.

    Raises `RetryLater` for a temporary failure, `InvalidResponse` for a response that is no
    completion, and `InvalidInput("endpoint")` for what a retry cannot mend.
    """
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    body = {
        "model": endpoint.model,
        "messages": request.messages,
        "temperature": 0,
        "max_tokens": request.most,
    }
    try:
        status, headers, text = _post(http, endpoint, url, body)
    except httpx.TimeoutException:
        raise RetryLater(
            f"{endpoint.description} did not answer within {endpoint.timeout:.0f} s."
        ) from None
    except httpx.TransportError as error:
        log.warning("%s cannot be reached: %s", url, error)
        raise RetryLater(
            f"{endpoint.description} cannot be reached: {_without_url(endpoint, str(error))}."
        ) from None
    _raise_for_status(endpoint, status, headers, text)
    completion = parse_completion(text)
    return completion._replace(  # some servers do not count tokens
        prompt_tokens=completion.prompt_tokens or estimate_tokens(request.messages),
        completion_tokens=completion.completion_tokens
        or estimate_tokens([{"content": completion.text}]),
    )


def _post(
    http: httpx.Client, endpoint: Endpoint, url: str, body: dict[str, Any]
) -> tuple[int, httpx.Headers, str]:
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    extensions = {}
    if address := checked_address(url, endpoint.private_allowed):
        parts = urlsplit(url)
        host = f"[{address}]" if ":" in address else address
        headers["Host"] = parts.netloc
        extensions = {"sni_hostname": parts.hostname}
        url = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
    with http.stream("POST", url, json=body, headers=headers, extensions=extensions) as response:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_RESPONSE_BYTES:
                raise InvalidResponse(f"an answer of more than {MAX_RESPONSE_BYTES >> 20} MB")
        return response.status_code, response.headers, content.decode("utf-8", "replace")


def _raise_for_status(endpoint: Endpoint, status: int, headers: httpx.Headers, text: str) -> None:
    """Raise the error that a status other than 200 means."""
    name, message = endpoint.description, _without_url(endpoint, _error_message(text))
    if endpoint.key:  # some servers repeat the key that they refuse, and job logs are public
        message = message.replace(endpoint.key, "…")
    if status == 429 or status >= 500:
        seconds = headers.get("retry-after", "")
        raise RetryLater(
            f"{name} answers {status}{message}.", float(seconds) if seconds.isdigit() else 0.0
        )
    if status == 402:
        raise InvalidInput("endpoint", f"{name} wants to be paid first (402{message}).")
    if status in (401, 403):
        raise InvalidInput(
            "endpoint",
            f"{name} refuses the key ({status}{message}). Store another one for this endpoint.",
        )
    if status == 404:
        raise InvalidInput(
            "endpoint",
            f"{name} knows no model “{endpoint.model}”, or is no base URL: it mostly "
            f"ends in /v1 (404{message}).",
        )
    if status != 200:
        raise InvalidResponse(f"status {status}{message}")


def _without_url(endpoint: Endpoint, message: str) -> str:
    """Remove the endpoint's URL from a message: servers and libraries repeat it."""
    parts = urlsplit(endpoint.base_url)
    for text in (endpoint.base_url, parts.netloc, parts.hostname):
        message = message.replace(text, "…") if text else message
    return message


def parse_completion(text: str) -> Completion:
    """Return the completion in the body of a response, without `seconds`."""
    try:
        body = json.loads(text)
        content = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise InvalidResponse(f"no chat completion: {text[:80]!r}") from None
    if not isinstance(content, str) or not content.strip():
        raise InvalidResponse("an empty answer")
    prompt, completion = (
        _token_count(usage, name) for name in ("prompt_tokens", "completion_tokens")
    )
    return Completion(content, prompt, completion, 0.0)


def _token_count(usage: Any, name: str) -> int:
    """Return a token count of the server, 0 if there is none."""
    count = usage.get(name) if isinstance(usage, dict) else 0
    return count if isinstance(count, int) and count >= 0 else 0


def _error_message(text: str) -> str:
    """Return the start of an error message in OpenAI's format, if the body is one."""
    try:
        error = json.loads(text)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {str(message)[:200]}"
