"""Who calls: a key in `Authorization: Bearer KEY`, or the session of a signed-in browser."""

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from explorer.models import ApiKey, User

SCHEME = "Bearer"


class KeyAuthentication(BaseAuthentication):
    """The user of the key that the request carries. Other schemes are a proxy's business and are
    left alone.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's user and row; None where there is no key. Raises `AuthenticationFailed` where
        it is not valid.
        """
        scheme, _blank, key = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != SCHEME.lower():
            return None
        api_key = ApiKey.by_key(key.strip())
        if api_key is None:
            raise AuthenticationFailed(
                "The key is not valid: it is misspelt, was revoked, or its user is not active."
            )
        return api_key.user, api_key

    def authenticate_header(self, request: Request) -> str:
        """What a refused caller should send."""
        return SCHEME
