"""The device that this worker computes on, and its memory."""

import os

import psutil
import torch
from django.conf import settings

from features.records import WorkerState
from features.version import VERSION


def device() -> str:
    """The device of this process: FEATURESCOPE_DEVICE, or for `auto` a GPU if there is one."""
    if settings.DEVICE != "auto":
        return str(settings.DEVICE)
    return "cuda" if torch.cuda.is_available() else "cpu"


def limit_threads() -> None:
    """Compute on FEATURESCOPE_THREADS threads: workers that share cores wait for each other."""
    if settings.THREADS:
        torch.set_num_threads(settings.THREADS)


def device_name() -> str:
    """The name of the device for people: “NVIDIA H200”, or “cpu, 2 threads”."""
    name = device()
    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    return f"{name}, {torch.get_num_threads()} threads"


def worker_state() -> WorkerState:
    """The device, the version and the memory of this process and its machine, in bytes."""
    memory = psutil.virtual_memory()
    own_memory = psutil.Process(os.getpid()).memory_info().rss
    gpu_free = gpu_total = None
    if device().startswith("cuda"):
        gpu_free, gpu_total = torch.cuda.mem_get_info(device())
    return WorkerState(
        device_name(), VERSION, memory.total, memory.available, own_memory, gpu_total, gpu_free
    )
