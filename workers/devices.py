"""Where this process computes, and how much memory there is."""

import os

import psutil
import torch
from django.conf import settings

from features.records import WorkerState
from features.version import VERSION


def device() -> str:
    """The device of this process: FEATURESCOPE_DEVICE, or for `auto` a GPU where there is one."""
    if settings.DEVICE != "auto":
        return str(settings.DEVICE)
    return "cuda" if torch.cuda.is_available() else "cpu"


def limit_threads() -> None:
    """Compute on as many threads as FEATURESCOPE_THREADS says: those of workers that share cores
    wait for one another.
    """
    if settings.THREADS:
        torch.set_num_threads(settings.THREADS)


def device_name() -> str:
    """The device as a person names it: “NVIDIA H200”, or “cpu, 2 threads”."""
    chosen = device()
    return (
        torch.cuda.get_device_name(chosen)
        if chosen.startswith("cuda")
        else f"{chosen}, {torch.get_num_threads()} threads"
    )


def worker_state() -> WorkerState:
    """What this process tells of itself now."""
    memory = psutil.virtual_memory()
    free, total = torch.cuda.mem_get_info(device()) if device().startswith("cuda") else (None, None)
    own = psutil.Process(os.getpid()).memory_info().rss
    return WorkerState(device_name(), VERSION, memory.total, memory.available, own, total, free)
