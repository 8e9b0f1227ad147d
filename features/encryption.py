"""Keys of other services, encrypted with this instance's own: a copy of the database alone gives
nobody a key.
"""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.encoding import force_bytes


class Unreadable(Exception):
    """It was encrypted with a SECRET_KEY that this instance does not know any more."""


def encrypt(secret: str) -> bytes:
    """The secret for a column; of nothing, nothing."""
    return _box().encrypt(secret.encode()) if secret else b""


def decrypt(stored: bytes | memoryview) -> str:
    """The secret again. Raises `Unreadable`."""
    if not bytes(stored):
        return ""
    try:
        return _box().decrypt(bytes(stored)).decode()
    except InvalidToken:
        raise Unreadable(
            "SECRET_KEY was changed since this key was stored. Store the key again."
        ) from None


def _box() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key))) for key in keys])


def _derived(key: str | bytes) -> bytes:
    return hashlib.sha256(b"featurescope: keys of endpoints\0" + force_bytes(key)).digest()
