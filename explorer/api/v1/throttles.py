"""How often one caller may send requests: by user, or by network address for visitors. The rates
are settings, and all processes count together.
"""

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import AnonRateThrottle, SimpleRateThrottle, UserRateThrottle

from explorer.http import rate_limits


class SharedRateThrottle(SimpleRateThrottle):
    """DRF's throttle with counts that all processes share, and the rate of the current settings."""

    num_requests: int | None
    duration: int | None
    seconds_left = 0.0

    def get_rate(self) -> str | None:
        """Such as "600/minute"; None for no limit."""
        rates: dict[str, str | None] = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]
        assert self.scope is not None
        return rates[self.scope]

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request; False once there are more in a period than the rate allows."""
        key = self.get_cache_key(request, view) if self.rate else None
        if key is None:
            return True
        assert self.num_requests is not None
        assert self.duration is not None
        number, self.seconds_left = rate_limits.increment(key, self.duration)
        return number <= self.num_requests

    def wait(self) -> float:
        """Seconds until the period ends."""
        return self.seconds_left


class AnonymousThrottle(SharedRateThrottle, AnonRateThrottle):
    """Callers without a key or session, by network address."""

    scope = "anonymous"


class UserThrottle(SharedRateThrottle, UserRateThrottle):
    """Callers with a key or session, by user."""

    scope = "user"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """None for those without an account: the other throttle counts them."""
        return super().get_cache_key(request, view) if request.user.is_authenticated else None
