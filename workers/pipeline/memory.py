"""Memory that was freed, given back to the system."""

import ctypes
import sys
from collections.abc import Callable


def _trimmer() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none


_trim = _trimmer()


def release_free_memory() -> None:
    """Return freed memory to the system, where the allocator can be told to.

    glibc keeps what was freed between two things that stay: a pass that keeps a little of every
    batch would hold on to the room of its temporary tensors, batch after batch, by a fifth of its
    memory in a million tokens.
    """
    if _trim is not None:
        _trim(0)
