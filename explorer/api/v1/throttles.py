"""How often one caller may ask: by user where there is one, else by address. The rates are
settings.
"""

from django.conf import settings
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle


class _ByScope:
    """Reads the rate when it is needed: DRF keeps the one it found when it was imported."""

    scope: str

    def get_rate(self) -> str | None:
        """Such as "600/minute"; None for no limit."""
        rates: dict[str, str | None] = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]  # type: ignore[assignment]
        return rates[self.scope]


class AnonymousThrottle(_ByScope, AnonRateThrottle):
    """Callers without a key or session, by address."""

    scope = "anonymous"


class UserThrottle(_ByScope, UserRateThrottle):
    """Callers with a key or session, by user."""

    scope = "user"

    def get_cache_key(self, request, view):  # type: ignore[no-untyped-def]
        """None for those without an account: the other throttle counts them."""
        return super().get_cache_key(request, view) if request.user.is_authenticated else None
