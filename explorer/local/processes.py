"""Child processes that never outlive the one that started them."""

import ctypes
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent(sign: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel sends `sign` to the child when its parent ends, however
    it ends.

    Linux only; None elsewhere, where a `kill -9` of the parent leaves the child.
    """
    if sys.platform != "linux":
        return None
    # Looked up here: as little as possible should happen between fork and exec.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
