"""Any text of Python as a text of PostgreSQL.

PostgreSQL's text cannot hold U+0000, and no encoding holds half of a surrogate pair. Tokens,
answers of endpoints, names of files and messages of libraries have both. These dumpers send U+FFFD
in their place, in text and in JSON, so that every column takes any text and every lookup can be
asked.
"""

import json
import re
from typing import Any

import psycopg
from psycopg.types import json as json_types
from psycopg.types import string

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""Escapes of JSON that may stand for a character that cannot be stored."""


def storable(text: str) -> str:
    """Return the text with U+FFFD for each character that cannot be stored."""
    if text.isascii() and "\x00" not in text:
        return text
    return UNSTORABLE.sub("\ufffd", text)


class _AnyText:
    """Makes a dumper of texts take any text."""

    def dump(self, obj: str) -> Any:
        return super().dump(storable(obj))  # type: ignore[misc]  # of the other base class


class _AnyJson:
    """Makes a dumper of JSON take any text in it."""

    def dump(self, obj: Any) -> Any:
        data: bytes = super().dump(obj)  # type: ignore[misc]
        if not SUSPECT.search(data):
            return data
        # a binary value begins with the version of its format
        head = data[:1] if data[:1] == b"\x01" else b""
        value = _storable_json(json.loads(bytes(data[len(head) :])))
        return head + json.dumps(value, ensure_ascii=False).encode()


def _storable_json(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): _storable_json(item) for name, item in value.items()}
    return value


TEXT_DUMPERS = (
    string.StrBinaryDumperName,
    string.StrBinaryDumperVarchar,
    string.StrBinaryDumper,
    string.StrDumperName,
    string.StrDumperVarchar,
    string.StrDumper,
    string.StrDumperUnknown,
)
"""Dumpers of psycopg in its own order: the last one is the default."""
JSON_DUMPERS = (
    (json_types.Json, json_types.JsonBinaryDumper),
    (json_types.Json, json_types.JsonDumper),
    (json_types.Jsonb, json_types.JsonbBinaryDumper),
    (json_types.Jsonb, json_types.JsonbDumper),
)


def register() -> None:
    """Use these dumpers on every connection that is opened from now on."""
    for base in TEXT_DUMPERS:
        psycopg.adapters.register_dumper(str, type(base.__name__, (_AnyText, base), {}))
    for wrapper, dumper in JSON_DUMPERS:
        psycopg.adapters.register_dumper(wrapper, type(dumper.__name__, (_AnyJson, dumper), {}))
