"""One chat completion from an OpenAI-compatible endpoint, over HTTP.

POST {base_url}/chat/completions   {model, messages, temperature: 0, max_tokens}
Authorization: Bearer KEY

An error may come with a status of its own or inside a 200; both are raised alike.
"""

import logging
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from features.records import InvalidInput
from workers.pipeline.autointerp.budget import estimate_tokens
from workers.pipeline.autointerp.endpoint_urls import checked_address
from workers.pipeline.autointerp.responses import (
    InvalidResponse,
    ServerError,
    Usage,
    parse_body,
)
from workers.pipeline.autointerp.retry_after import seconds_until_retry

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
    counts them, unless `estimated`; `cost` is in US dollars if the server states it. `seconds` is
    the time that the request took.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    error: str = ""
    cost: float | None = None
    estimated: bool = False


class RetryLater(Exception):
    """A temporary failure; retry after as many seconds as the server asks for, None if it does not
    say. `usage` is what the request may have cost.
    """

    def __init__(
        self,
        reason: str,
        seconds: float | None = None,
        usage: Usage = Usage(),  # noqa: B008  # immutable
    ) -> None:
        super().__init__(reason)
        self.seconds, self.usage = seconds, usage


class Refused(Exception):
    """The endpoint refuses this request (400, 413, 422); others may be answered."""

    def __init__(self, reason: str, error: ServerError) -> None:
        super().__init__(reason)
        self.error = error


def post_completion(
    http: httpx.Client, endpoint: Endpoint, request: CompletionRequest, body: dict[str, Any]
) -> Completion:
    """Send one request and return its completion, without `seconds`.

    Raises `RetryLater` for a temporary failure, `Refused` for a request that the endpoint does not
    take, `InvalidResponse` for a response that is no completion, and `InvalidInput("endpoint")` for
    what a retry cannot mend.
    """
    lost = Usage(estimate_tokens(request.messages), request.most, estimated=True)
    try:
        status, headers, text = _post(http, endpoint, body, lost)
    except httpx.TransportError as error:
        raise _transport_error(endpoint, error, lost) from None
    except httpx.DecodingError:
        raise InvalidResponse("a response that cannot be decompressed", lost) from None
    except (httpx.InvalidURL, UnicodeError):
        raise _cannot_be_sent(endpoint) from None
    if status != 200:
        raise _error(endpoint, status, headers, _error_in(text))
    message, failure, usage = parse_body(text)
    if failure is not None:
        raise _error(endpoint, failure.status, headers, failure, usage)
    assert message is not None
    return _completion(request, message.text, message.error, usage, message.thoughts)


def _completion(
    request: CompletionRequest, text: str, error: str, usage: Usage, thoughts: int
) -> Completion:
    """The completion, with an estimate of the tokens that the server does not count.

    Raises `InvalidResponse` for an empty answer that cost nothing: it may come when asked again.
    """
    if error == "an empty answer" and not usage.completion_tokens:
        raise InvalidResponse(error, usage)
    prompt = usage.prompt_tokens or estimate_tokens(request.messages)
    written = estimate_tokens([{"content": text + thoughts * "x"}])
    completion = usage.completion_tokens or (request.most if "cut off" in error else written)
    estimated = not usage.prompt_tokens or not usage.completion_tokens
    return Completion(text, prompt, completion, 0.0, error, usage.cost, estimated)


def _post(
    http: httpx.Client, endpoint: Endpoint, body: dict[str, Any], lost: Usage
) -> tuple[int, httpx.Headers, str]:
    url = _url(endpoint)
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
        try:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_RESPONSE_BYTES:
                    size = f"an answer of more than {MAX_RESPONSE_BYTES >> 20} MB"
                    raise InvalidResponse(size, lost)
        except httpx.TransportError as error:
            if response.status_code == 200 and not isinstance(error, httpx.TimeoutException):
                name = endpoint.description
                raise RetryLater(f"{name} broke off in an answer.", usage=lost) from None
            raise
        return response.status_code, response.headers, content.decode("utf-8", "replace")


def _url(endpoint: Endpoint) -> str:
    return f"{endpoint.base_url.rstrip('/')}/chat/completions"


def _transport_error(endpoint: Endpoint, error: httpx.TransportError, lost: Usage) -> Exception:
    """The error for a request without a response. One that was sent may be billed although nobody
    waits for its answer any more.
    """
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return _cannot_be_sent(endpoint)
    if isinstance(error, httpx.TimeoutException):
        usage = lost if isinstance(error, httpx.ReadTimeout) else Usage()
        waited = f"{endpoint.description} did not answer within {endpoint.timeout:.0f} s."
        return RetryLater(waited, usage=usage)
    log.warning("%s cannot be reached: %s", _url(endpoint), error)
    reason = _without_url(endpoint, str(error))
    return RetryLater(f"{endpoint.description} cannot be reached: {reason}.")


def _cannot_be_sent(endpoint: Endpoint) -> InvalidInput:
    return InvalidInput(
        "endpoint",
        f"{endpoint.description} cannot be asked: its URL or its key is not one of HTTP.",
    )


def _error_in(text: str) -> ServerError:
    try:
        _, error, _ = parse_body(text)
    except InvalidResponse:
        error = None
    return error or ServerError(0, "")


def _error(
    endpoint: Endpoint,
    status: int,
    headers: httpx.Headers,
    error: ServerError,
    usage: Usage = Usage(),  # noqa: B008  # immutable
) -> Exception:
    """The error that a status, or the code of an error inside a 200, means."""
    name, said = endpoint.description, _public(endpoint, error.message)
    code = f" {status}" if status else ""
    said = f": {said.rstrip('.')}" if said else ""
    if _is_unpaid(status, error):
        paid = f"{name} wants to be paid first ({status}{said})."
        return InvalidInput("endpoint", paid)
    if status in (408, 409, 425, 429) or status >= 500:
        seconds = seconds_until_retry(headers, error.message)
        return RetryLater(f"{name} answers{code}{said}.", seconds, usage)
    if status == 403 and "flagged" in error.message.lower():
        return Refused(f"status 403{said}", error)
    if status in (401, 403):
        remedy = "Store another one for this endpoint."
        return InvalidInput("endpoint", f"{name} refuses the key ({status}{said}). {remedy}")
    if status == 404:
        return InvalidInput(
            "endpoint",
            f"{name} knows no model “{endpoint.model}”, or is no base URL: it mostly "
            f"ends in /v1 (404{said}).",
        )
    if status == 405 or 300 <= status < 400:
        remedy = "a base URL mostly ends in /v1"
        return InvalidInput("endpoint", f"{name} is no chat endpoint ({status}{said}): {remedy}.")
    if status >= 400:
        return Refused(f"status {status}{said}", error)
    return InvalidResponse(f"an error{code}{said}", usage)


def _is_unpaid(status: int, error: ServerError) -> bool:
    """Whether nothing is answered until somebody pays: 402, and some codes of 400, 403 and 429."""
    words = ("insufficient_quota", "billing_hard_limit", "billing_not_active", "credit balance")
    text = f"{error.code} {error.message}".lower()
    return status == 402 or (400 <= status < 500 and any(word in text for word in words))


def _public(endpoint: Endpoint, message: str) -> str:
    """A message without URL and key: some servers repeat the key that they refuse, and job logs are
    public.
    """
    message = _without_url(endpoint, " ".join(message.split()))
    return (message.replace(endpoint.key, "…") if endpoint.key else message)[:300]


def _without_url(endpoint: Endpoint, message: str) -> str:
    """Remove the endpoint's URL from a message: servers and libraries repeat it."""
    parts = urlsplit(endpoint.base_url)
    for text in (endpoint.base_url, parts.netloc, parts.hostname):
        message = message.replace(text, "…") if text else message
    return message
