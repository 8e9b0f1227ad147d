"""Files of a Hugging Face hub repository, with progress: looked up by name, then downloaded to the
worker's cache.

`HF_ENDPOINT` names a mirror, `HF_TOKEN` a token for gated repositories, `HF_HOME` the place of the
cache; a file that is in the cache is not asked for again, and one that breaks off goes on from
where it was, in another process too (`partial`). Without a connection the cache is read.
"""

import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from features.records import InvalidInput, Progress
from workers.pipeline.data import resumable_download

POLL_SECONDS = 0.2
ROOM = 1.05
"""Asked for on the disk, as a multiple of what is to be downloaded."""
UNREACHABLE = (
    "Cannot reach the hub at {at}: {why} Set HF_ENDPOINT to a mirror that this worker can reach, "
    "or give a folder on this"
    " machine, which works offline."
)


class Repository(NamedTuple):
    """A repository at one commit. `unreachable` says why only the cache is read, where the hub
    could not be asked.
    """

    name: str
    commit: str
    unreachable: InvalidInput | None = None


class Stop(Exception):
    """Raised inside a download that was asked to stop."""


def find_repository(name: str, revision: str = "") -> Repository:
    """The repository at the commit that `revision` (branch, tag or commit; empty for the newest)
    names now.

    Where it cannot be reached, what the cache holds. `InvalidInput` (field `source` or `revision`)
    says what the hub answered.
    """
    try:
        info = HfApi().model_info(name, revision=revision or None)
    except (HfHubHTTPError, HFValidationError) as error:
        raise _refusal(name, revision, error) from error
    except Exception as error:  # the connection's own errors, of several libraries
        return Repository(name, _cached_commit(name, revision), _refusal(name, revision, error))
    return Repository(name, str(info.sha))


def file_sizes(repository: Repository, paths: Sequence[str]) -> dict[str, int]:
    """Bytes of those of `paths` that the repository has, in order."""
    if repository.unreachable:
        found = {path: _place(repository, path) for path in paths}
        return {path: place.stat().st_size for path, place in found.items() if place}
    try:
        infos = HfApi().get_paths_info(repository.name, list(paths), revision=repository.commit)
    except Exception as error:
        raise _refusal(repository.name, repository.commit, error) from error
    there = {info.path: int(info.size) for info in infos if isinstance(info, RepoFile)}
    return {path: there[path] for path in paths if path in there}


def file_names(repository: Repository, folder: str = "") -> list[str]:
    """Every file below `folder`; none where it has no such folder. Raises `InvalidInput` where the
    hub cannot be asked.
    """
    if repository.unreachable:
        raise repository.unreachable
    try:
        tree = HfApi().list_repo_tree(
            repository.name, folder or None, recursive=True, revision=repository.commit
        )
        return [item.path for item in tree if isinstance(item, RepoFile)]
    except EntryNotFoundError:
        return []
    except Exception as error:
        raise _refusal(repository.name, repository.commit, error) from error


def download(
    repository: Repository, files: dict[str, int], should_stop: Callable[[], bool]
) -> Generator[Progress, None, dict[str, Path] | None]:
    """Bring `files` (path to bytes) into the cache; yields progress in bytes and returns their
    places, None where stopped.

    Raises `InvalidInput("source")` where the disk has no room for them or the connection is lost
    for good.
    """
    if repository.unreachable:
        return {path: place for path in files if (place := _place(repository, path))}
    wanted = {path: size for path, size in files.items() if _place(repository, path) is None}
    _require_room(repository, sum(wanted.values()))
    transfer = _Transfer(repository, wanted)
    transfer.start()
    total = sum(files.values())
    had = total - sum(wanted.values())
    while transfer.is_alive():
        transfer.join(POLL_SECONDS)
        transfer.stop = transfer.stop or should_stop()
        yield Progress(
            min(had + transfer.received, total), total, "bytes", f"Downloading {transfer.now}"
        )
    if transfer.stop:
        return None
    if transfer.error is not None:
        if isinstance(transfer.error, OSError) and transfer.error.errno == 28:
            raise transfer.error
        raise _refusal(repository.name, repository.commit, transfer.error) from transfer.error
    return {path: place for path in files if (place := _place(repository, path))}


class _Transfer(threading.Thread):
    """Downloads in a thread of its own, so that whoever waits can tell how far it is; `received`
    counts bytes.
    """

    def __init__(self, repository: Repository, files: dict[str, int]) -> None:
        super().__init__(daemon=True, name=f"download of {repository.name}")
        self.repository, self.files = repository, files
        self.received, self.now, self.stop = 0, "", False
        self.error: Exception | None = None

    def run(self) -> None:
        """Every file in turn."""
        before = 0
        try:
            for path, size in self.files.items():
                self.now, bar = path, _counting(self, before)
                resumable_download.download_large_file(
                    self.repository.name, path, self.repository.commit, bar
                )
                hf_hub_download(
                    self.repository.name, path, revision=self.repository.commit, tqdm_class=bar
                )
                before += size
                self.received = before
        except Stop:
            pass
        except Exception as error:
            self.error = error


def _counting(transfer: _Transfer, before: int) -> type[tqdm]:
    """A progress bar that shows nothing: it tells `transfer` how many bytes are there, and stops it
    when asked to.
    """

    class Counting(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})
            self.there = int(options.get("initial") or 0)
            transfer.received = before + self.there

        def update(self, n: float | None = 1) -> bool | None:
            if transfer.stop:
                raise Stop
            self.there += int(n or 0)
            transfer.received = before + self.there
            return None

    return Counting


def _require_room(repository: Repository, needed: int) -> None:
    place = Path(constants.HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed * ROOM > free:
        raise InvalidInput(
            "source",
            f"{repository.name} needs {needed / 1e9:,.2f} GB, but the disk of the hub's cache "
            f"has {free / 1e9:,.2f} GB"
            " free. Make room, or set HF_HOME to a folder on a larger disk.",
        )


def _place(repository: Repository, path: str) -> Path | None:
    """Where a file of that commit lies in the cache, if it does."""
    try:
        return Path(
            hf_hub_download(
                repository.name, path, revision=repository.commit, local_files_only=True
            )
        )
    except EntryNotFoundError:
        return None


def _cached_commit(name: str, revision: str) -> str:
    """The commit that the cache knows by that name, or holds last; the name itself where it knows
    none.
    """
    kept = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    known = kept / "refs" / (revision or constants.DEFAULT_REVISION)
    if known.is_file():
        return known.read_text().strip()
    snapshots = sorted((kept / "snapshots").glob("*"), key=lambda place: place.stat().st_mtime)
    return (
        snapshots[-1].name if snapshots and not revision else revision or constants.DEFAULT_REVISION
    )


def _refusal(name: str, revision: str, error: Exception) -> InvalidInput:
    """What went wrong at the hub, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or status == 403:
        return InvalidInput(
            "source",
            f"{name} is gated: accept its terms at the hub, then set HF_TOKEN on the worker to a "
            "token of that account.",
        )
    if isinstance(error, RevisionNotFoundError):
        return InvalidInput("revision", f"{name} has no revision {revision!r}.")
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return InvalidInput(
            "source",
            f"The hub has no model repository {name}, or it is private: check the spelling, or "
            "set HF_TOKEN on the worker.",
        )
    if isinstance(error, HFValidationError):
        return InvalidInput("source", f"{name} is no name of a repository: write owner/name.")
    if status is not None:
        return InvalidInput("source", f"The hub answered {status} for {name}: {_first_line(error)}")
    why = "HF_HUB_OFFLINE is set." if constants.HF_HUB_OFFLINE else f"{_first_line(error)}."
    return InvalidInput("source", UNREACHABLE.format(at=_site(), why=why))


def _site() -> str:
    """The hub as everybody may read of it: a mirror's address may be of a network of one's own."""
    return (
        constants.ENDPOINT
        if constants.ENDPOINT == constants._HF_DEFAULT_ENDPOINT
        else "the mirror that HF_ENDPOINT names"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]
