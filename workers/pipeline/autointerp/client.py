"""A client for an OpenAI-compatible endpoint: concurrent requests, with a rate limit, retries and a
budget.

A temporary failure (429, 5xx, a time-out, a broken connection) is retried after a pause that
doubles, or that the server asks for. A permanent one (a refused key, an unknown model, requests
that are refused one after another) ends the run, after the answers that are on their way. A
refusal of a parameter changes it for the rest of the run. A response that is no completion (HTML,
other JSON, more than a megabyte) is asked for again twice, and then counts as missing.

Until the first answer there is one request at a time: what is wrong with all requests is seen once.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import httpx

from features.records import InvalidInput
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.completions import (
    Completion,
    CompletionRequest,
    Endpoint,
    Refused,
    RetryLater,
    post_completion,
)
from workers.pipeline.autointerp.parameters import Parameters
from workers.pipeline.autointerp.responses import InvalidResponse, Usage
from workers.pipeline.errors import Unavailable

RETRY_SECONDS = 300.0
"""How long one request is retried before the job is put off: longer than a rate limit's minute."""
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
MAX_INVALID_RESPONSES = 3
"""After this many invalid responses a request counts as unanswered."""
MAX_REFUSALS, MAX_LATER_REFUSALS = 3, 10
"""Requests without a completion, one after another, that end a run: before its first completion,
and after it.
"""
MAX_UNREAD = 10
"""Completions without an answer (cut off, empty) that end a run which had no answer yet."""
STOPPED = "stopped"
"""The error of a request that was given up because the run ends; it is no answer."""


class Client:
    """An endpoint with its connections. Use it as a context manager."""

    def __init__(
        self,
        endpoint: Endpoint,
        budget: Budget,
        should_stop: Callable[[], bool] = lambda: False,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.endpoint, self.budget, self.should_stop = endpoint, budget, should_stop
        self._log, self._parameters = log, Parameters()
        limits = httpx.Limits(max_connections=endpoint.concurrency)
        self._http = httpx.Client(
            timeout=endpoint.timeout, limits=limits, follow_redirects=False, trust_env=False
        )
        self._lock, self._next_request = threading.Lock(), 0.0
        self._over = False
        self._failure: InvalidInput | None = None
        self._refusals, self._unread, self._answered = 0, 0, False
        self._last_answer = 0.0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(
        self, requests: Iterable[CompletionRequest]
    ) -> Iterator[tuple[CompletionRequest, Completion]]:
        """Yield each request with its completion, in the order in which they complete.

        Ends early when the budget is spent or the job must stop. Raises `InvalidInput("endpoint")`
        for a permanent failure, and `Unavailable` for a temporary one that lasted too long; both
        after the completions of all requests that were sent.
        """
        stream, running = iter(requests), set[Future[tuple[CompletionRequest, Completion]]]()
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            try:
                while True:
                    while len(running) < self._most_at_once and not self._ends():
                        request = next(stream, None)
                        if request is None or not self._reserve(request):
                            break
                        running.add(pool.submit(self._complete, request))
                    if not running:
                        break
                    done, running = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in done:
                        error = future.exception()
                        if isinstance(error, InvalidInput):
                            self._end(error)
                        else:
                            yield future.result()
            finally:
                self._over = True  # requests that are being retried end
                for future in running:
                    future.cancel()
        if self._failure is not None:
            raise self._failure

    @property
    def _most_at_once(self) -> int:
        return self.endpoint.concurrency if self._last_answer else 1

    def _ends(self) -> bool:
        return self._over or self.should_stop()

    def _end(self, failure: InvalidInput) -> None:
        """Send no more requests, and raise this when those on their way are answered."""
        self._failure, self._over = self._failure or failure, True

    def _reserve(self, request: CompletionRequest) -> bool:
        return self.budget.reserve(request.messages, request.most)

    def _complete(self, request: CompletionRequest) -> tuple[CompletionRequest, Completion]:
        """Send a request until it has a completion, or fails for good."""
        begun, pause, invalid, lost = time.monotonic(), FIRST_PAUSE, 0, Usage()
        while True:
            self._wait_for_rate_limit()
            sent = time.monotonic()
            body = self._parameters.body(self.endpoint.model, request.messages, request.most)
            try:
                completion = post_completion(self._http, self.endpoint, request, body)
                return request, self._completed(request, completion, sent, lost)
            except Refused as error:
                if not self._learn(error, body):
                    return request, self._refused(request, sent, f"{error}", lost)
            except InvalidResponse as error:
                invalid += 1
                lost += error.usage
                if not self._pay(request, error.usage):
                    return request, self._unpaid(sent, str(error), lost)
                if invalid == MAX_INVALID_RESPONSES or self._ends():
                    return request, self._refused(request, sent, f"{error}", lost)
            except RetryLater as error:
                lost += error.usage
                if not self._pay(request, error.usage):
                    return request, self._unpaid(sent, str(error), lost)
                self._raise_if_too_long(error, begun)
                self._sleep(_pause(error, pause))
                pause *= 2 if error.seconds is None else 1
                if self._ends():
                    return request, self._failed(request, sent, STOPPED, lost)

    def _completed(
        self, request: CompletionRequest, completion: Completion, sent: float, lost: Usage
    ) -> Completion:
        """Account for a completion, and add what its earlier tries cost."""
        tokens, cost = completion[1:3], completion.cost
        self.budget.settle(request.messages, request.most, *tokens, cost, completion.estimated)
        with self._lock:
            self._refusals, self._last_answer = 0, time.monotonic()
            self._answered |= not completion.error
            self._unread += bool(completion.error)
            hopeless = self._unread >= MAX_UNREAD and not self._answered
        if hopeless:
            reason = f"none of {self._unread} responses holds an answer. {_remedy(completion)}"
            self._end(InvalidInput("endpoint", f"{self.endpoint.description}: {reason}"))
        total = lost + Usage(*tokens, cost, completion.estimated)
        return _with_usage(completion, total)._replace(seconds=time.monotonic() - sent)

    def _failed(
        self, request: CompletionRequest, sent: float, error: str, lost: Usage
    ) -> Completion:
        """The completion of a request without one; all of `lost` is accounted for already."""
        self.budget.settle(request.messages, request.most, 0, 0)
        return self._unpaid(sent, error, lost)

    def _unpaid(self, sent: float, error: str, lost: Usage) -> Completion:
        return _with_usage(Completion("", 0, 0, time.monotonic() - sent, error), lost)

    def _refused(
        self, request: CompletionRequest, sent: float, error: str, lost: Usage
    ) -> Completion:
        """The completion of a request that gets none. The run ends where one after another is."""
        with self._lock:
            self._refusals += 1
            most = MAX_LATER_REFUSALS if self._last_answer else MAX_REFUSALS
        if self._refusals >= most:
            name = self.endpoint.description
            reason = f"{name} answered none of {self._refusals} requests: {error}."
            self._end(InvalidInput("endpoint", reason))
        return self._failed(request, sent, error, lost)

    def _learn(self, error: Refused, body: dict[str, Any]) -> bool:
        """Whether the request can be sent again with other parameters."""
        learned = self._parameters.learn(error.error, body)
        if learned:
            self._log(f"{self.endpoint.description} answers {error}. {learned}")
        return learned is not None

    def _pay(self, request: CompletionRequest, usage: Usage) -> bool:
        """Account for a try that may have cost something. Returns whether another one fits."""
        if not usage.prompt_tokens and not usage.completion_tokens and usage.cost is None:
            return True
        self.budget.settle(request.messages, request.most, *usage)
        return self._reserve(request)

    def _raise_if_too_long(self, error: RetryLater, begun: float) -> None:
        """Raise `Unavailable` if the endpoint failed for too long, or asks to wait too long. While
        other requests are answered, it is only busy.
        """
        if error.seconds is not None and error.seconds > RETRY_SECONDS:
            wait = f"It asks to wait {error.seconds / 60:.0f} min."
            raise Unavailable("endpoint", f"{error} {wait}")
        if time.monotonic() - max(begun, self._last_answer) > RETRY_SECONDS:
            raise Unavailable("endpoint", f"{error} It did so for {RETRY_SECONDS:.0f} s.")

    def _wait_for_rate_limit(self) -> None:
        if self.endpoint.per_minute:
            with self._lock:
                now = time.monotonic()
                start = max(self._next_request, now)
                self._next_request = start + 60 / self.endpoint.per_minute
            self._sleep(start - now)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._ends():
            time.sleep(max(0.0, min(0.2, end - time.monotonic())))


def _pause(error: RetryLater, pause: float) -> float:
    """Seconds until the next try; never all threads at the same moment."""
    if error.seconds is not None:
        return error.seconds + FIRST_PAUSE * random.uniform(0.0, 0.5)
    return min(pause * random.uniform(0.5, 1.0), MAX_PAUSE)


def _remedy(completion: Completion) -> str:
    """The reason for an unread completion, as a sentence, and what helps."""
    reason = completion.error[:1].upper() + completion.error[1:]
    thinks = "cut off" in reason or "thinks" in reason
    return f"{reason}.{' Choose a model that thinks less.' if thinks else ''}"


def _with_usage(completion: Completion, usage: Usage) -> Completion:
    return completion._replace(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=usage.cost,
        estimated=usage.estimated,
    )
