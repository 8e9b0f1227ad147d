"""Rate limits that all processes of an instance share: how often something happened in a period.

The counts are rows of an unlogged table rather than entries of Django's cache. Its local-memory
backend counts per process, and its database backend increments with a read and a write, so that
concurrent requests are lost. Here one statement increments and returns the count.
"""

from typing import NamedTuple

from django.db import connection
from django.utils.crypto import salted_hmac

INCREMENT = """
WITH expired AS (
    SELECT key FROM explorer_ratelimit WHERE ends <= statement_timestamp() AND key <> %(key)s
    LIMIT 100 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM explorer_ratelimit WHERE key IN (SELECT key FROM expired)
)
INSERT INTO explorer_ratelimit AS stored (key, count, ends)
VALUES (%(key)s, 1, statement_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN stored.ends > statement_timestamp() THEN stored.count + 1 ELSE 1 END,
    ends = CASE WHEN stored.ends > statement_timestamp() THEN stored.ends ELSE excluded.ends END
RETURNING count, extract(epoch FROM ends - statement_timestamp())
"""
"""Counts one more, or begins a new period, and deletes some rows of periods that have ended."""


class Count(NamedTuple):
    """How often something happened in the current period, which ends in `seconds`."""

    number: int
    seconds: float


def increment(name: str, seconds: float) -> Count:
    """Count one more `name`. A period of `seconds` begins with the first one that falls in none."""
    with connection.cursor() as cursor:
        cursor.execute(INCREMENT, {"key": _key(name), "seconds": seconds})
        number, left = cursor.fetchone()
    return Count(number, float(left))


def reset(name: str) -> None:
    """Begin again with no `name` counted."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM explorer_ratelimit WHERE key = %s", [_key(name)])


def _key(name: str) -> str:
    """Names are hashed: they contain network addresses and user names."""
    return salted_hmac("explorer.http.rate_limits", name, algorithm="sha256").hexdigest()
