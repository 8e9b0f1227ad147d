"""Typed environment variables. Each function validates one variable and raises
`ImproperlyConfigured` for a bad value.

`VARIABLES` lists every variable of the settings: tests compare the documentation and the compose
file with it.
"""

import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


class Variable(NamedTuple):
    """A variable of the settings: its default as a user would write it, and its purpose."""

    name: str
    default: str
    about: str


VARIABLES: dict[str, Variable] = {}

CONNECTION = {
    "NAME": "dbname",
    "USER": "user",
    "PASSWORD": "password",
    "HOST": "host",
    "PORT": "port",
}
"""Django's settings of a connection, by libpq's parameters."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def text(name: str, default: str = "", about: str = "") -> str:
    """The variable without surrounding whitespace; an empty one counts as unset."""
    VARIABLES[name] = Variable(name, default, about)
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool, about: str) -> bool:
    """A boolean: 1, true, yes, on or 0, false, no, off."""
    value = text(name, "1" if default else "0", about).lower()
    if value not in _TRUE | _FALSE:
        raise ImproperlyConfigured(f"{name} must be 1 or 0, not “{value}”.")
    return value in _TRUE


def number(name: str, default: int, about: str, *, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = text(name, str(default), about)
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {low} to {high}, not “{value}”."
        )
    return int(value)


def names(name: str, default: list[str], about: str) -> list[str]:
    """A list separated by commas."""
    return [
        part.strip() for part in text(name, ",".join(default), about).split(",") if part.strip()
    ]


def url(name: str, schemes: set[str], about: str) -> str:
    """A URL with one of the schemes; empty if the variable is unset."""
    value = text(name, "", about)
    if value and value.partition("://")[0] not in schemes:
        raise ImproperlyConfigured(
            f"{name} must begin with one of {', '.join(f'{s}://' for s in sorted(schemes))}."
        )
    return value


def secret(name: str, path: Path, about: str) -> str:
    """The variable, or a secret that is generated once and stored in a file with mode 600."""
    value = text(name, "", about)
    if value:
        return value
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(50))
        value = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"Cannot write to {path.parent} ({error.strerror}): set FEATURESCOPE_VAR to a "
            "writable folder."
        ) from error
    if len(value) < 32:
        raise ImproperlyConfigured(f"{path} is damaged: delete it and start again, or set {name}.")
    return value


def _write_once(path: Path, value: str) -> None:
    """Write a file atomically; if several processes start at once, the first one's value stays."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def database(name: str, about: str) -> dict[str, Any] | None:
    """Django's settings for the PostgreSQL of a URL; None if the variable is unset."""
    conninfo = url(name, {"postgres", "postgresql"}, about)
    if not conninfo:
        return None
    try:
        parts = dict(conninfo_to_dict(conninfo))
    except ProgrammingError as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from error
    if not parts.get("dbname") or not str(parts.get("port") or "0").isdigit():
        raise ImproperlyConfigured(
            f"{name} must name a database: postgresql://user:password@host:5432/database"
        )
    settings = {
        setting: str(parts.pop(parameter, "") or "") for setting, parameter in CONNECTION.items()
    }
    return {"ENGINE": "django.db.backends.postgresql", **settings, "OPTIONS": parts}
