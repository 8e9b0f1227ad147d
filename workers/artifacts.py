"""Weights, checkpoints and exports under one fsspec address: a folder by default, object storage at scale.

Names are relative to that address (`saes/demo-python/2-res`). A folder appears under its name all at once.
"""

import uuid
from pathlib import Path

import fsspec
from django.conf import settings
from fsspec import AbstractFileSystem

from workers.pipeline.errors import BadInput


def put(folder: str | Path, name: str) -> str:
    """Copy a local folder to `name`, replacing what was there; returns `name`."""
    store, root = _store()
    target, half = f"{root}/{name}", f"{root}/.incoming/{uuid.uuid4().hex}"
    store.makedirs(half, exist_ok=True)
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            inside = f"{half}/{path.relative_to(folder).as_posix()}"
            store.makedirs(inside.rpartition("/")[0], exist_ok=True)
            store.put_file(str(path), inside)
    remove(name)
    store.makedirs(target.rpartition("/")[0], exist_ok=True)
    store.mv(half, target, recursive=True)
    return name


def get(name: str, folder: str | Path) -> Path:
    """Copy what lies at `name` into the local `folder`. Raises `BadInput` where nothing does."""
    store, root = _store()
    source = f"{root}/{name}"
    if not store.exists(source):
        raise BadInput("artifact", f"There is nothing at {settings.ARTIFACTS_URL}/{name}; was it moved or deleted?")
    target = Path(folder)
    for found in store.find(source):
        place = target / Path(found).relative_to(Path(source))
        place.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(found, str(place))
    return target


def remove(name: str) -> None:
    """Delete what lies at `name`, if anything does."""
    store, root = _store()
    if store.exists(f"{root}/{name}"):
        store.rm(f"{root}/{name}", recursive=True)


def _store() -> tuple[AbstractFileSystem, str]:
    store, root = fsspec.url_to_fs(settings.ARTIFACTS_URL)
    return store, str(root).rstrip("/")
