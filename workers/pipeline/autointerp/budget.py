"""Limits on what a job may spend: tokens, and dollars if an endpoint has prices.

Each request is reserved before it is sent, and accounted for after it.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

CHARACTERS_PER_TOKEN = 3.5
"""A low estimate for English and code, so that token estimates are rather too high. The counts of
the server replace it.
"""
OVERHEAD = 8
"""Tokens that a message costs in addition to its text."""


class Spending(NamedTuple):
    """Tokens as servers counted them, and their price in US dollars."""

    prompt_tokens: int
    completion_tokens: int
    cost: float


def estimate_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """Return an estimate of how many tokens a prompt has."""
    return sum(
        int(len(message["content"]) / CHARACTERS_PER_TOKEN) + 1 + OVERHEAD for message in messages
    )


class Budget:
    """The limits of one job, shared by its threads; 0 is no limit. Prices are in US dollars for a
    million tokens.
    """

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
        self._prompt = self._completion = self._estimated = 0
        self._reserved_in = self._reserved_out = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spending:
        """What was spent so far."""
        return Spending(self._prompt, self._completion, self._cost(self._prompt, self._completion))

    def reserve(self, messages: Iterable[Mapping[str, str]], most: int) -> bool:
        """Reserve a request with an answer of at most `most` tokens.

        Returns False if it does not fit; from then on nothing fits.
        """
        estimate = estimate_tokens(messages)
        with self._lock:
            # The tokens of this server may be smaller than estimated.
            factor = max(1.0, self._prompt / max(self._estimated, 1))
            tokens_in = self._prompt + int(factor * (self._reserved_in + estimate))
            tokens_out = self._completion + self._reserved_out + most
            too_many = self.most_tokens and tokens_in + tokens_out > self.most_tokens
            too_expensive = self.most_cost and self._cost(tokens_in, tokens_out) > self.most_cost
            if self.exhausted or too_many or too_expensive:
                self.exhausted = True
                return False
            self._reserved_in += estimate
            self._reserved_out += most
            return True

    def settle(
        self,
        messages: Iterable[Mapping[str, str]],
        most: int,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """Replace the reservation of a request by the tokens that it took."""
        with self._lock:
            self._reserved_in -= estimate_tokens(messages)
            self._reserved_out -= most
            self._estimated += estimate_tokens(messages) if prompt_tokens else 0
            self._prompt += prompt_tokens
            self._completion += completion_tokens

    def add_earlier_spending(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add the tokens of a request by an earlier attempt of the job."""
        with self._lock:
            self._estimated += prompt_tokens
            self._prompt += prompt_tokens
            self._completion += completion_tokens

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        return tokens_in * self.prices[0] + tokens_out * self.prices[1]
