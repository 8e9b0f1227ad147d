"""Weights, checkpoints and exports under one fsspec address: a folder by default, object storage at
scale.

Names are relative to that address (`saes/demo-python/2-res-0123456789ab`). A folder appears under
its name all at once.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from django.conf import settings
from fsspec import AbstractFileSystem

INCOMING = ".incoming"
"""Where folders are while they are being written."""
PIECE = 1 << 20


class Missing(LookupError):
    """There is nothing under that name."""


class File(NamedTuple):
    """A file of an artifact: its path inside, and its bytes."""

    name: str
    size: int


class Folder(NamedTuple):
    """A folder of the store: its name, all its bytes, and when it last changed (None where the
    store does not say).
    """

    name: str
    size: int
    changed: datetime | None


def put(folder: str | Path, name: str) -> str:
    """Copy a local folder to `name`, replacing what was there; returns `name`."""
    store, root = _store()
    target, half = f"{root}/{name}", f"{root}/{INCOMING}/{uuid.uuid4().hex}"
    try:
        store.makedirs(half, exist_ok=True)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                inside = f"{half}/{path.relative_to(folder).as_posix()}"
                store.makedirs(inside.rpartition("/")[0], exist_ok=True)
                store.put_file(str(path), inside)
        remove(name)
        store.makedirs(target.rpartition("/")[0], exist_ok=True)
        store.mv(half, target, recursive=True)
    except OSError:
        remove(
            f"{INCOMING}/{half.rpartition('/')[2]}"
        )  # a full disk should not stay full of what did not fit
        raise
    return name


def get(name: str, folder: str | Path) -> Path:
    """Copy what lies at `name` into the local `folder`. Raises `Missing`."""
    store, root = _store()
    target = Path(folder)
    for file in files(name):
        place = target / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(f"{root}/{name}/{file.name}", str(place))
    return target


def remove(name: str) -> None:
    """Delete what lies at `name`, if anything does."""
    store, root = _store()
    if store.exists(f"{root}/{name}"):
        store.rm(f"{root}/{name}", recursive=True)


def files(name: str) -> list[File]:
    """The files of an artifact, by name. Raises `Missing`."""
    store, root = _store()
    found = _files(store, f"{root}/{name}")
    if not found:
        raise Missing(f"There is nothing at {name} among the artifacts; was it moved or deleted?")
    return sorted(
        File(path.removeprefix(f"{root}/{name}/"), int(info["size"]))
        for path, info in found.items()
    )


def stream_file(name: str, file: str) -> Iterator[bytes]:
    """The bytes of one file of an artifact, in pieces. Raises `Missing` at once where there is no
    such file.
    """
    store, root = _store()
    if file not in {there.name for there in files(name)}:
        raise Missing(f"{name} has no file {file}.")
    return _pieces(store, f"{root}/{name}/{file}")


def folders(place: str, depth: int) -> list[Folder]:
    """The folders so many levels below `place`, by name, with all that they hold; none where there
    is no such place.
    """
    store, root = _store()
    sizes: dict[str, int] = {}
    times: dict[str, datetime] = {}
    for path, info in _files(store, f"{root}/{place}").items():
        name = "/".join([place, *path.removeprefix(f"{root}/{place}/").split("/")[:depth]])
        sizes[name] = sizes.get(name, 0) + int(info["size"])
        if when := _changed(info):
            times[name] = max(when, times.get(name, when))
    return [Folder(name, size, times.get(name)) for name, size in sorted(sizes.items())]


def _files(store: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(store.find(path, detail=True))
    except FileNotFoundError:
        return {}


def _changed(info: dict[str, Any]) -> datetime | None:
    """A local file system gives seconds, object stores a datetime under one name or another."""
    when = (
        info.get("mtime")
        or info.get("LastModified")
        or info.get("last_modified")
        or info.get("updated")
    )
    if isinstance(when, int | float):
        return datetime.fromtimestamp(when, UTC)
    return when if isinstance(when, datetime) else None


def _pieces(store: AbstractFileSystem, path: str) -> Iterator[bytes]:
    with store.open(path, "rb") as opened:
        while piece := opened.read(PIECE):
            yield piece


def _store() -> tuple[AbstractFileSystem, str]:
    store, root = fsspec.url_to_fs(settings.ARTIFACTS_URL)
    return store, str(root).rstrip("/")
