"""Look up a repository of the Hugging Face hub and its files, at one commit.

`HF_ENDPOINT` is a mirror of the hub, `HF_TOKEN` a token for gated repositories and `HF_HOME` the
folder of the cache. Without a connection, the cache alone is used (`Repository.unreachable`).
`download` downloads the files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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

from features.records import InvalidInput


class Repository(NamedTuple):
    """A repository at one commit. `unreachable` is the error of the hub if only the cache can be
    used.
    """

    name: str
    commit: str
    unreachable: InvalidInput | None = None


def find_repository(name: str, revision: str = "") -> Repository:
    """Return the repository at the current commit of `revision`: a branch, tag or commit, by
    default the newest commit.

    If the hub cannot be reached, the commit is that of the cache. Raises `InvalidInput` (field
    `source` or `revision`) with the answer of the hub.
    """
    try:
        info = HfApi().model_info(name, revision=revision or None)
    except (HfHubHTTPError, HFValidationError) as error:
        raise hub_error(name, revision, error) from error
    except Exception as error:  # connection errors of several libraries
        return Repository(name, _cached_commit(name, revision), hub_error(name, revision, error))
    return Repository(name, str(info.sha))


def file_sizes(repository: Repository, paths: Sequence[str]) -> dict[str, int]:
    """Return the size in bytes of each of `paths` that exists in the repository, in order."""
    if repository.unreachable:
        return {
            path: local_path.stat().st_size
            for path in paths
            if (local_path := cached_path(repository, path))
        }
    try:
        infos = HfApi().get_paths_info(repository.name, list(paths), revision=repository.commit)
    except Exception as error:
        raise hub_error(repository.name, repository.commit, error) from error
    sizes = {info.path: int(info.size) for info in infos if isinstance(info, RepoFile)}
    return {path: sizes[path] for path in paths if path in sizes}


def file_names(repository: Repository, folder: str = "") -> list[str]:
    """Return the paths of all files below `folder`, none if there is no such folder.

    Raises `InvalidInput` if the hub cannot be reached.
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
        raise hub_error(repository.name, repository.commit, error) from error


def cached_path(repository: Repository, path: str) -> Path | None:
    """Return the local path of a file that is in the cache, or None."""
    try:
        local_path = hf_hub_download(
            repository.name, path, revision=repository.commit, local_files_only=True
        )
    except EntryNotFoundError:
        return None
    return Path(local_path)


def hub_error(name: str, revision: str, error: Exception) -> InvalidInput:
    """Return an error that says what the hub answered, and what to do about it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RevisionNotFoundError):
        return InvalidInput("revision", f"{name} has no revision {revision!r}.")
    if isinstance(error, GatedRepoError) or status == 403:
        message = (
            f"{name} is gated: accept its terms at the hub, then set HF_TOKEN on the worker to a "
            "token of that account."
        )
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        message = (
            f"The hub has no model repository {name}, or it is private: check the spelling, or "
            "set HF_TOKEN on the worker."
        )
    elif isinstance(error, HFValidationError):
        message = f"{name} is no name of a repository: write owner/name."
    elif status is not None:
        message = f"The hub answered {status} for {name}: {_first_line(error)}"
    else:
        message = _unreachable_message(error)
    return InvalidInput("source", message)


def _unreachable_message(error: Exception) -> str:
    reason = "HF_HUB_OFFLINE is set." if constants.HF_HUB_OFFLINE else f"{_first_line(error)}."
    # The message is public, and the URL of a mirror may belong to a private network.
    is_default = constants.ENDPOINT == constants._HF_DEFAULT_ENDPOINT
    site = constants.ENDPOINT if is_default else "the mirror that HF_ENDPOINT names"
    return (
        f"Cannot reach the hub at {site}: {reason} Set HF_ENDPOINT to a mirror that this worker "
        "can reach, or give a folder on this machine, which works offline."
    )


def _cached_commit(name: str, revision: str) -> str:
    """The commit of `revision` in the cache, or the newest there; `revision` if there is none."""
    cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    reference = cache / "refs" / (revision or constants.DEFAULT_REVISION)
    if reference.is_file():
        return reference.read_text().strip()
    snapshots = sorted((cache / "snapshots").glob("*"), key=lambda folder: folder.stat().st_mtime)
    if snapshots and not revision:
        return snapshots[-1].name
    return revision or constants.DEFAULT_REVISION


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]
