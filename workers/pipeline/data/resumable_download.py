"""A large file of the hub, brought into its cache in as many attempts as it takes: each goes on
where the last one stopped.

huggingface_hub writes every download to a file of a new name and removes it where the download
breaks off, so that a worker that dies at 90% of 20 GB begins again. Here the bytes stay beside the
cache's blobs, named by the file's ETag, which for a large file is the SHA-256 of its content: a
file that changed at the hub has another name, and what is whole is checked.
"""

import fcntl
import hashlib
import re
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers, tqdm  # type: ignore[attr-defined]

SHA256 = re.compile(r"[0-9a-f]{64}")


def download_large_file(name: str, path: str, commit: str, bar: type[tqdm]) -> None:
    """Download the file where it is a large one, and let huggingface_hub find it in its cache; else
    do nothing.

    `bar` is told how far it is, with what was there from before as its start. Where another process
    brings the same file, it is left to huggingface_hub. Raises what `http_get` raises, and OSError
    where the content is not what its name says.
    """
    url = hf_hub_url(name, path, revision=commit)
    told = get_hf_file_metadata(url)
    if not (told.etag and told.size and SHA256.fullmatch(told.etag)):
        return
    blob = (
        Path(constants.HF_HUB_CACHE)
        / repo_folder_name(repo_id=name, repo_type="model")
        / "blobs"
        / told.etag
    )
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{told.etag}.incomplete")
    with partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if blob.exists():
            partial.unlink(missing_ok=True)
            return
        if file.tell() > told.size:
            file.truncate(0)
        http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=build_hf_headers(),
            expected_size=told.size,
            tqdm_class=bar,
        )
        file.flush()
        _keep(partial, blob)


def _keep(partial: Path, blob: Path) -> None:
    """Give what is whole its name, where its content has it."""
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.name:
        partial.unlink()
        raise OSError(
            f"what came is not what was to come: its SHA-256 is {found[:12]}…, not "
            f"{blob.name[:12]}…"
        )
    partial.rename(blob)
