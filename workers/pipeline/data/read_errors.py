"""Errors of any reader as sentences: why a file cannot be read, without paths of this machine."""

import lzma
import zlib

MAX_REASON = 300
"""Characters of a library's own message that are shown."""


def read_failure(error: Exception) -> str:
    """Return why reading failed, as a sentence without its full stop, to follow the file's name."""
    if isinstance(error, EOFError):
        return "the file is cut off: its compressed data has no end"
    if isinstance(error, zlib.error | lzma.LZMAError):
        return f"its compressed data is damaged ({_own_words(error)})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is, or its sizes are damaged"
    if isinstance(error, OSError) and error.strerror:  # without the path in the message
        return error.strerror.lower()
    return _own_words(error)


def _own_words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:MAX_REASON]
