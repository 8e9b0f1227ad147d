"""Download a large file of the hub in several attempts: each continues where the last one stopped.

huggingface_hub downloads to a file with a new name and deletes it when the download breaks off, so
a worker that is killed at 90% of 20 GB starts again. Here the partial file stays in the folder of
the cache's blobs. It is named by the ETag, which for a large file is the SHA-256 of its content: a
file that changed at the hub has another name, and a complete file can be verified.
"""

import fcntl
import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers, tqdm  # type: ignore[attr-defined]

SHA256 = re.compile(r"[0-9a-f]{64}")


def download_large_file(name: str, path: str, commit: str, progress_bar: type[tqdm]) -> None:
    """Download a large file of the repository `name` to the cache of huggingface_hub.

    Small files, which have no SHA-256, are left to huggingface_hub, and so is a file that another
    process is downloading. `progress_bar` starts at the bytes that are there already. Raises what
    `http_get` raises, and `OSError` if the content does not have its SHA-256.
    """
    url = hf_hub_url(name, path, revision=commit)
    metadata = get_hf_file_metadata(url)
    if not (metadata.etag and metadata.size and SHA256.fullmatch(metadata.etag)):
        return
    blobs = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "blobs")
    blobs.mkdir(parents=True, exist_ok=True)
    blob, partial = blobs / metadata.etag, blobs / f"{metadata.etag}.incomplete"
    with partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if blob.exists():
            partial.unlink(missing_ok=True)
            return
        _continue_download(url, file, metadata.size, progress_bar)
        _rename_verified(partial, blob)


def _continue_download(url: str, file: BinaryIO, size: int, progress_bar: type[tqdm]) -> None:
    if file.tell() > size:
        file.truncate(0)
    http_get(
        url,
        file,
        resume_size=file.tell(),
        headers=build_hf_headers(),
        expected_size=size,
        tqdm_class=progress_bar,
    )
    file.flush()


def _rename_verified(partial: Path, blob: Path) -> None:
    """Rename the complete file to its SHA-256, or delete it if it does not have it."""
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != blob.name:
        partial.unlink()
        raise OSError(
            f"The downloaded file is damaged: its SHA-256 is {digest[:12]}…, not {blob.name[:12]}…"
        )
    partial.rename(blob)
