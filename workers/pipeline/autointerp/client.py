"""A client for an OpenAI-compatible endpoint: concurrent requests, with a rate limit, retries and a
budget.

A temporary failure (429, 5xx, a time-out, a broken connection) is retried after a pause that
doubles, or that the server asks for. A permanent one (a refused key, an unknown model) ends the job
at once. A response that is no completion (HTML, other JSON, more than a megabyte) is asked for
again twice, and then counts as missing.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import httpx

from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.completions import (
    Completion,
    CompletionRequest,
    Endpoint,
    InvalidResponse,
    RetryLater,
    post_completion,
)
from workers.pipeline.errors import Unavailable

RETRY_SECONDS = 300.0
"""How long one request is retried before the job is put off: longer than a rate limit's minute."""
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
MAX_INVALID_RESPONSES = 3
"""After this many invalid responses a request counts as unanswered."""


class Client:
    """An endpoint with its connections. Use it as a context manager."""

    def __init__(
        self, endpoint: Endpoint, budget: Budget, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.endpoint, self.budget, self.should_stop = endpoint, budget, should_stop
        limits = httpx.Limits(max_connections=endpoint.concurrency)
        self._http = httpx.Client(
            timeout=endpoint.timeout, limits=limits, follow_redirects=False, trust_env=False
        )
        self._rate_lock, self._next_request = threading.Lock(), 0.0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(
        self, requests: Iterable[CompletionRequest]
    ) -> Iterator[tuple[CompletionRequest, Completion]]:
        """Yield each request with its completion, in the order in which they complete.

        Ends early when the budget is spent or the job must stop. Raises `InvalidInput("endpoint")`
        for a permanent failure, and `Unavailable` for a temporary one that lasted too long.
        """
        stream, running = iter(requests), set[Future[tuple[CompletionRequest, Completion]]]()
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            try:
                while True:
                    while len(running) < self.endpoint.concurrency and not self.should_stop():
                        request = next(stream, None)
                        if request is None or not self.budget.reserve(
                            request.messages, request.most
                        ):
                            break
                        running.add(pool.submit(self._complete, request))
                    if not running:
                        return
                    done, running = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                for future in running:
                    future.cancel()

    def _complete(self, request: CompletionRequest) -> tuple[CompletionRequest, Completion]:
        """Send a request until it has a completion, or fails for good."""
        begun, pause, invalid = time.monotonic(), FIRST_PAUSE, 0
        while True:
            self._wait_for_rate_limit()
            sent = time.monotonic()
            try:
                completion = post_completion(self._http, self.endpoint, request)
                self.budget.settle(
                    request.messages,
                    request.most,
                    completion.prompt_tokens,
                    completion.completion_tokens,
                )
                return request, completion._replace(seconds=time.monotonic() - sent)
            except InvalidResponse as error:
                invalid += 1
                if invalid == MAX_INVALID_RESPONSES or self.should_stop():
                    return request, self._failed(request, sent, str(error))
            except RetryLater as error:
                if time.monotonic() - begun > RETRY_SECONDS:
                    raise Unavailable(
                        "endpoint", f"{error} It did so for {RETRY_SECONDS:.0f} s."
                    ) from None
                self._sleep(min(error.seconds or pause * random.uniform(0.5, 1.0), MAX_PAUSE))
                pause *= 2
                if self.should_stop():
                    return request, self._failed(request, sent, "stopped")

    def _failed(self, request: CompletionRequest, sent: float, error: str) -> Completion:
        self.budget.settle(request.messages, request.most, 0, 0)
        return Completion("", 0, 0, time.monotonic() - sent, error)

    def _wait_for_rate_limit(self) -> None:
        if self.endpoint.per_minute:
            with self._rate_lock:
                now = time.monotonic()
                start = max(self._next_request, now)
                self._next_request = start + 60 / self.endpoint.per_minute
            self._sleep(start - now)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.should_stop():
            time.sleep(max(0.0, min(0.2, end - time.monotonic())))
