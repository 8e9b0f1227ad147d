"""Download files of a Hugging Face repository to its cache, with progress.

A thread downloads one file after the other while the caller's generator yields its progress. Files
in the cache are not downloaded again, and a large file whose download broke off continues where it
stopped, also in another process (`resumable_download`).
"""

import errno
import shutil
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from features.records import InvalidInput, Progress
from workers.pipeline.data.hub import Repository, cached_path, hub_error
from workers.pipeline.data.resumable_download import download_large_file

POLL_SECONDS = 0.2
DISK_SPACE_MARGIN = 1.05
"""Free disk space that is required, as a multiple of the bytes to download."""


class _Stopped(Exception):
    """Raised inside a download when the caller asked to stop."""


def download(
    repository: Repository, files: dict[str, int], should_stop: Callable[[], bool]
) -> Generator[Progress, None, dict[str, Path] | None]:
    """Download `files` (path to size in bytes) to the cache.

    Yields progress in bytes and returns the local paths, or None if `should_stop()` returned true.
    Raises `InvalidInput("source")` if the disk is too small or the connection is lost, and
    `OSError` if the disk fills up.
    """
    if not repository.unreachable:
        missing = {path: size for path, size in files.items() if not cached_path(repository, path)}
        _require_disk_space(repository, sum(missing.values()))
        transfer = _Transfer(repository, missing)
        transfer.start()
        total = sum(files.values())
        cached = total - sum(missing.values())
        while transfer.is_alive():
            transfer.join(POLL_SECONDS)
            transfer.stop = transfer.stop or should_stop()
            done = min(cached + transfer.received, total)
            yield Progress(done, total, "bytes", f"Downloading {transfer.current_path}")
        if transfer.stop:
            return None
        if transfer.error is not None:
            if isinstance(transfer.error, OSError) and transfer.error.errno == errno.ENOSPC:
                raise transfer.error
            raise hub_error(repository.name, repository.commit, transfer.error) from transfer.error
    return {path: local_path for path in files if (local_path := cached_path(repository, path))}


class _Transfer(threading.Thread):
    """Downloads `files` in a thread. `received` counts bytes; `stop` may be set to end it."""

    def __init__(self, repository: Repository, files: dict[str, int]) -> None:
        super().__init__(daemon=True, name=f"download of {repository.name}")
        self.repository, self.files = repository, files
        self.received, self.current_path, self.stop = 0, "", False
        self.error: Exception | None = None

    def run(self) -> None:
        """Download every file in turn."""
        name, commit = self.repository.name, self.repository.commit
        received_before = 0
        try:
            for path, size in self.files.items():
                self.current_path = path
                progress_bar = _progress_bar(self, received_before)
                download_large_file(name, path, commit, progress_bar)
                hf_hub_download(name, path, revision=commit, tqdm_class=progress_bar)
                received_before += size
                self.received = received_before
        except _Stopped:
            pass
        except Exception as error:
            self.error = error


def _progress_bar(transfer: _Transfer, received_before: int) -> type[tqdm]:
    """A class of invisible progress bars that update `transfer.received` and stop when asked to."""

    class ProgressBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})
            self.received = int(options.get("initial") or 0)
            transfer.received = received_before + self.received

        def update(self, n: float | None = 1) -> bool | None:
            if transfer.stop:
                raise _Stopped
            self.received += int(n or 0)
            transfer.received = received_before + self.received
            return None

    return ProgressBar


def _require_disk_space(repository: Repository, needed: int) -> None:
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed * DISK_SPACE_MARGIN > free:
        raise InvalidInput(
            "source",
            f"{repository.name} needs {needed / 1e9:,.2f} GB, but the disk of the hub's cache has "
            f"{free / 1e9:,.2f} GB free. Make room, or set HF_HOME to a folder on a larger disk.",
        )
