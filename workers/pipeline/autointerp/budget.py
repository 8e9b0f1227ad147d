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
    """Tokens as servers counted them, and their price in US dollars. For `estimated` of the answers
    a server gave no count.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: float
    estimated: int = 0


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
        self._prompt = self._completion = self._estimated = self._unknown = 0
        self._reserved_in = self._reserved_out = 0
        self._reserved, self._dollars, self._dearest, self._overrun = 0, 0.0, 0.0, 1.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spending:
        """What was spent so far."""
        return Spending(self._prompt, self._completion, self._dollars, self._unknown)

    def reserve(self, messages: Iterable[Mapping[str, str]], most: int) -> bool:
        """Reserve a request with an answer of at most `most` tokens.

        Returns False if it does not fit; from then on nothing fits.
        """
        estimate = estimate_tokens(messages)
        with self._lock:
            # A server's tokens may be smaller than estimated, and its answers longer than asked.
            factor = max(1.0, self._prompt / max(self._estimated, 1))
            tokens_in = int(factor * (self._reserved_in + estimate))
            tokens_out = int(self._overrun * (self._reserved_out + most))
            tokens = self._prompt + self._completion + tokens_in + tokens_out
            too_many = self.most_tokens and tokens > self.most_tokens
            cost = self._dollars + self._expected_cost(tokens_in, tokens_out)
            too_expensive = self.most_cost and cost > self.most_cost
            if self.exhausted or too_many or too_expensive:
                self.exhausted = True
                return False
            self._reserved += 1
            self._reserved_in += estimate
            self._reserved_out += most
            return True

    def settle(
        self,
        messages: Iterable[Mapping[str, str]],
        most: int,
        prompt_tokens: int,
        completion_tokens: int,
        cost: float | None = None,
        estimated: bool = False,
    ) -> None:
        """Replace the reservation of a request by the tokens that it took, and by its cost if the
        server states one.
        """
        estimate = estimate_tokens(messages)
        with self._lock:
            self._reserved -= 1
            self._reserved_in -= estimate
            self._reserved_out -= most
            self._estimated += estimate if prompt_tokens else 0
            self._overrun = max(self._overrun, completion_tokens / max(most, 1))
            self._add(prompt_tokens, completion_tokens, cost, estimated)

    def add_earlier_spending(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cost: float | None = None,
        estimated: bool = False,
    ) -> None:
        """Add the tokens of a request by an earlier attempt of the job."""
        with self._lock:
            self._estimated += prompt_tokens
            self._add(prompt_tokens, completion_tokens, cost, estimated)

    def _add(self, tokens_in: int, tokens_out: int, cost: float | None, estimated: bool) -> None:
        self._prompt += tokens_in
        self._completion += tokens_out
        self._unknown += estimated
        self._dearest = max(self._dearest, cost or 0.0)
        self._dollars += self._price(tokens_in, tokens_out) if cost is None else cost

    def _expected_cost(self, tokens_in: int, tokens_out: int) -> float:
        """The price of tokens to come, or that of the dearest answer for each where the server
        states what answers cost.
        """
        return max(self._price(tokens_in, tokens_out), self._dearest * (self._reserved + 1))

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        return tokens_in * self.prices[0] + tokens_out * self.prices[1]
