"""What a job may spend: tokens, and dollars where an endpoint has prices. Reserved before a
request, settled after it.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

CHARACTERS_PER_TOKEN = 3.5
"""A low guess for English and code, so that estimates are rather too high; what servers count
replaces it.
"""
OVERHEAD = 8
"""Tokens that a message costs beside its words."""


class Spent(NamedTuple):
    """Tokens as servers counted them, and their price in US dollars."""

    prompt_tokens: int
    completion_tokens: int
    cost: float


def guess(messages: Iterable[Mapping[str, str]]) -> int:
    """About how many tokens a prompt has."""
    return sum(
        int(len(message["content"]) / CHARACTERS_PER_TOKEN) + 1 + OVERHEAD for message in messages
    )


class Budget:
    """Limits of one job; 0 is no limit. Threads share it."""

    def __init__(
        self,
        most_tokens: int = 0,
        most_cost: float = 0.0,
        price_in: float = 0.0,
        price_out: float = 0.0,
    ) -> None:
        self.most_tokens, self.most_cost = most_tokens, most_cost
        self.prices = (price_in / 1e6, price_out / 1e6)
        self.exhausted = False
        self._prompt = self._completion = self._guessed = self._reserved_in = self._reserved_out = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """So far."""
        return Spent(self._prompt, self._completion, self._cost(self._prompt, self._completion))

    def admits(self, messages: Iterable[Mapping[str, str]], most: int) -> bool:
        """Reserve a request with an answer of at most `most` tokens; False, for good, where it
        would not fit.
        """
        asked = guess(messages)
        with self._lock:
            factor = max(
                1.0, self._prompt / max(self._guessed, 1)
            )  # this server's tokens may be smaller than the guess
            tokens_in = self._prompt + int(factor * (self._reserved_in + asked))
            tokens_out = self._completion + self._reserved_out + most
            too_many = self.most_tokens and tokens_in + tokens_out > self.most_tokens
            too_dear = self.most_cost and self._cost(tokens_in, tokens_out) > self.most_cost
            if self.exhausted or too_many or too_dear:
                self.exhausted = True
                return False
            self._reserved_in += asked
            self._reserved_out += most
            return True

    def settle(
        self,
        messages: Iterable[Mapping[str, str]],
        most: int,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """Put what a request cost in the place of what was reserved for it."""
        with self._lock:
            self._reserved_in -= guess(messages)
            self._reserved_out -= most
            self._guessed += guess(messages) if prompt_tokens else 0
            self._prompt += prompt_tokens
            self._completion += completion_tokens

    def take(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count what an earlier attempt of the job spent."""
        with self._lock:
            self._guessed += prompt_tokens
            self._prompt += prompt_tokens
            self._completion += completion_tokens

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        return tokens_in * self.prices[0] + tokens_out * self.prices[1]
