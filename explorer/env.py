"""Typed readers of environment variables. Each call names, explains and checks one, and refuses
aloud what cannot be.

`VARIABLES` lists every variable that was read: the documentation and the compose file are tested
against it.
"""

import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


class Variable(NamedTuple):
    """One variable that the settings read: its default as a person would write it, and what it is
    for.
    """

    name: str
    default: str
    about: str


VARIABLES: dict[str, Variable] = {}

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def text(name: str, default: str = "", about: str = "") -> str:
    """The variable as it stands, without blanks around it; empty counts as unset."""
    VARIABLES[name] = Variable(name, default, about)
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool, about: str) -> bool:
    """A yes or no: 1, true, yes, on or 0, false, no, off."""
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
    """A list, separated by commas."""
    return [
        word.strip() for word in text(name, ",".join(default), about).split(",") if word.strip()
    ]


def url(name: str, schemes: set[str], about: str) -> str:
    """An address whose scheme is one of `schemes`; empty where the variable is unset."""
    value = text(name, "", about)
    if value and value.partition("://")[0] not in schemes:
        raise ImproperlyConfigured(
            f"{name} must begin with one of {', '.join(f'{s}://' for s in sorted(schemes))}."
        )
    return value


def secret(name: str, kept_in: Path, about: str) -> str:
    """A secret: the variable, else one that was generated once and is kept in a file only its owner
    can read.
    """
    value = text(name, "", about)
    if value:
        return value
    try:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        if not kept_in.exists():
            _write_once(kept_in, secrets.token_urlsafe(50))
        value = kept_in.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"Cannot write to {kept_in.parent} ({error.strerror}): set FEATURESCOPE_VAR to a "
            "writable folder."
        ) from error
    if len(value) < 32:
        raise ImproperlyConfigured(
            f"{kept_in} is damaged: delete it and start again, or set {name}."
        )
    return value


def _write_once(path: Path, value: str) -> None:
    """Write the whole file or none: of several processes that start at once, the first one's value
    stays.
    """
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
    """Django's settings for the PostgreSQL of a URL; None where the variable is unset."""
    address = url(name, {"postgres", "postgresql"}, about)
    if not address:
        return None
    try:
        parts = dict(conninfo_to_dict(address))
    except ProgrammingError as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from error
    if not parts.get("dbname") or not str(parts.get("port") or "0").isdigit():
        raise ImproperlyConfigured(
            f"{name} must name a database: postgresql://user:password@host:5432/database"
        )
    names = {
        "NAME": "dbname",
        "USER": "user",
        "PASSWORD": "password",
        "HOST": "host",
        "PORT": "port",
    }
    found = {ours: str(parts.pop(theirs, "") or "") for ours, theirs in names.items()}
    return {"ENGINE": "django.db.backends.postgresql", **found, "OPTIONS": parts}
