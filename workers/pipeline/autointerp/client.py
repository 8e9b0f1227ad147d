"""Asking a language model behind an OpenAI-compatible endpoint: many requests at once, paced,
patient, and within a budget.

    POST {base_url}/chat/completions   {model, messages, temperature: 0, max_tokens}
    Authorization: Bearer KEY

What may pass (429, 5xx, a time-out, a connection that breaks) is tried again after a pause that
doubles, or that the server asks for. What cannot pass (a refused key, an unknown model) ends the
job at once. An answer that is no answer (HTML, other JSON, more than a megabyte) is asked for again
twice, and then counted as missing.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from features.records import InvalidInput
from workers.pipeline.autointerp.budget import Budget, guess
from workers.pipeline.autointerp.endpoint_urls import resolve
from workers.pipeline.errors import Unavailable

log = logging.getLogger(__name__)

LONGEST_ANSWER = 1 << 20
PATIENCE_SECONDS = 300.0
"""How long one request is tried again before the job is put off: longer than the minute that rate
limits last.
"""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
BAD_ANSWERS = 3
"""Times that one request may be answered with what is no answer."""
Message = dict[str, str]


class Endpoint(NamedTuple):
    """Where to ask. `per_minute` 0: as fast as it answers. Prices are in US dollars for a million
    tokens; 0 costs nothing.

    `name` is what errors call it: everybody may read them, and its address may be of a network of
    one's own.
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
    def called(self) -> str:
        """At the beginning of a sentence."""
        return f"The endpoint “{self.name}”" if self.name else "The endpoint"


class Request(NamedTuple):
    """One question: `name` is whatever the caller knows it by, `most` the tokens that the answer
    may have.
    """

    name: Any
    messages: list[Message]
    most: int


class Answer(NamedTuple):
    """What came of a request. `error` is empty where `text` is an answer; tokens as the server
    counts them.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    error: str = ""


class _Again(Exception):
    """Try again, after as many seconds as the server asks for (0: as we choose)."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class _NoAnswer(Exception):
    """What came is no chat completion."""


class Client:
    """An endpoint with its connections. Use it in a `with`."""

    def __init__(
        self, endpoint: Endpoint, budget: Budget, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.endpoint, self.budget, self.should_stop = endpoint, budget, should_stop
        limits = httpx.Limits(max_connections=endpoint.concurrency)
        self._http = httpx.Client(
            timeout=endpoint.timeout, limits=limits, follow_redirects=False, trust_env=False
        )
        self._turn, self._next = threading.Lock(), 0.0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """Yield each request with its answer, as they come; ends early where the budget is spent or
        the job must stop.

        `InvalidInput("endpoint")` for what cannot pass, `Unavailable` where patience ran out.
        """
        stream, running = iter(requests), set[Future[tuple[Request, Answer]]]()
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            try:
                while True:
                    while len(running) < self.endpoint.concurrency and not self.should_stop():
                        request = next(stream, None)
                        if request is None or not self.budget.admits(
                            request.messages, request.most
                        ):
                            break
                        running.add(pool.submit(self._patiently, request))
                    if not running:
                        return
                    done, running = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                for future in running:
                    future.cancel()

    def _patiently(self, request: Request) -> tuple[Request, Answer]:
        begun, pause, bad = time.monotonic(), FIRST_PAUSE, 0
        while True:
            self._wait_for_a_turn()
            asked = time.monotonic()
            try:
                answer = self._once(request)
                self.budget.settle(
                    request.messages, request.most, answer.prompt_tokens, answer.completion_tokens
                )
                return request, answer._replace(seconds=time.monotonic() - asked)
            except _NoAnswer as error:
                bad += 1
                if bad == BAD_ANSWERS or self.should_stop():
                    self.budget.settle(request.messages, request.most, 0, 0)
                    return request, Answer("", 0, 0, time.monotonic() - asked, str(error))
            except _Again as again:
                if time.monotonic() - begun > PATIENCE_SECONDS:
                    raise Unavailable(
                        "endpoint", f"{again} It did so for {PATIENCE_SECONDS:.0f} s."
                    ) from None
                self._rest(min(again.seconds or pause * random.uniform(0.5, 1.0), LONGEST_PAUSE))
                pause *= 2
                if self.should_stop():
                    self.budget.settle(request.messages, request.most, 0, 0)
                    return request, Answer("", 0, 0, time.monotonic() - asked, "stopped")

    def _wait_for_a_turn(self) -> None:
        if self.endpoint.per_minute:
            with self._turn:
                now = time.monotonic()
                self._next = max(self._next, now) + 60 / self.endpoint.per_minute
                rest = self._next - 60 / self.endpoint.per_minute - now
            self._rest(rest)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.should_stop():
            time.sleep(max(0.0, min(0.2, end - time.monotonic())))

    def _once(self, request: Request) -> Answer:
        url = f"{self.endpoint.base_url.rstrip('/')}/chat/completions"
        body = {
            "model": self.endpoint.model,
            "messages": request.messages,
            "temperature": 0,
            "max_tokens": request.most,
        }
        headers = {"Authorization": f"Bearer {self.endpoint.key}"} if self.endpoint.key else {}
        try:
            status, told, text = self._post(url, headers, body)
        except httpx.TimeoutException:
            raise _Again(
                f"{self.endpoint.called} did not answer within {self.endpoint.timeout:.0f} s."
            ) from None
        except httpx.TransportError as error:
            log.warning("%s cannot be reached: %s", url, error)
            raise _Again(
                f"{self.endpoint.called} cannot be reached: {self._without_address(str(error))}."
            ) from None
        self._refuse(status, told, text)
        answer = read(text)
        return answer._replace(
            prompt_tokens=answer.prompt_tokens
            or guess(request.messages),  # some servers do not count
            completion_tokens=answer.completion_tokens or guess([{"content": answer.text}]),
        )

    def _post(
        self, url: str, headers: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, httpx.Headers, str]:
        extensions = {}
        if address := resolve(url, self.endpoint.private_allowed):
            parts = urlsplit(url)
            host = f"[{address}]" if ":" in address else address
            headers = {**headers, "Host": parts.netloc}
            extensions = {"sni_hostname": parts.hostname}
            url = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        with self._http.stream(
            "POST", url, json=body, headers=headers, extensions=extensions
        ) as response:
            read_ = bytearray()
            for piece in response.iter_bytes():
                read_ += piece
                if len(read_) > LONGEST_ANSWER:
                    raise _NoAnswer(f"an answer of more than {LONGEST_ANSWER >> 20} MB")
            return response.status_code, response.headers, read_.decode("utf-8", "replace")

    def _without_address(self, said: str) -> str:
        """Words without the endpoint's own address: servers and libraries repeat it."""
        parts = urlsplit(self.endpoint.base_url)
        for own in (self.endpoint.base_url, parts.netloc, parts.hostname):
            said = said.replace(own, "…") if own else said
        return said

    def _refuse(self, status: int, headers: httpx.Headers, text: str) -> None:
        """Raise what a status other than 200 means."""
        where, said = self.endpoint.called, self._without_address(_message(text))
        if (
            self.endpoint.key
        ):  # some servers repeat the key that they refuse, and everybody may read a job's log
            said = said.replace(self.endpoint.key, "…")
        if status == 429 or status >= 500:
            asked = headers.get("retry-after", "")
            raise _Again(
                f"{where} answers {status}{said}.", float(asked) if asked.isdigit() else 0.0
            )
        if status == 402:
            raise InvalidInput("endpoint", f"{where} wants to be paid first (402{said}).")
        if status in (401, 403):
            raise InvalidInput(
                "endpoint",
                f"{where} refuses the key ({status}{said}). Store another one for this endpoint.",
            )
        if status == 404:
            raise InvalidInput(
                "endpoint",
                f"{where} knows no model “{self.endpoint.model}”, or is no base URL: it mostly "
                f"ends in /v1 (404{said}).",
            )
        if status != 200:
            raise _NoAnswer(f"status {status}{said}")


def read(text: str) -> Answer:
    """The answer in the body of a response."""
    try:
        body = json.loads(text)
        content = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise _NoAnswer(f"no chat completion: {text[:80]!r}") from None
    if not isinstance(content, str) or not content.strip():
        raise _NoAnswer("an empty answer")
    prompt, completion = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    return Answer(content, prompt, completion, 0.0)


def _count(usage: Any, name: str) -> int:
    """A number of tokens as the server tells it; 0 where it tells none."""
    count = usage.get(name) if isinstance(usage, dict) else 0
    return count if isinstance(count, int) and count >= 0 else 0


def _message(text: str) -> str:
    """What the server says of an error, in the shape that OpenAI gives it; a part of it."""
    try:
        said = json.loads(text)["error"]
        said = said["message"] if isinstance(said, dict) else said
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {str(said)[:200]}"
