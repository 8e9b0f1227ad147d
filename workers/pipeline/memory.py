"""Return freed memory to the operating system."""

import ctypes
import sys
from collections.abc import Callable


def _find_malloc_trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; other C libraries do not have it."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


_malloc_trim = _find_malloc_trim()


def release_free_memory() -> None:
    """Return freed memory to the operating system, if the C library can.

    glibc keeps freed memory that lies between two live allocations. A pass that stores a little of
    every batch would so hold on to the memory of its temporary tensors: after a million tokens, a
    fifth more than it needs.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
