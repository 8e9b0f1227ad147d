"""Git LFS pointers: the 130 bytes that a clone without Git LFS has in the place of a large file."""

from collections.abc import Iterable
from pathlib import Path

from features.records import InvalidInput

BEGINNING = b"version https://git-lfs"


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raise `InvalidInput("source")` if one of the files, which may not exist, is a pointer."""
    for path in paths:
        if path.is_file() and _first_bytes(path) == BEGINNING:
            raise InvalidInput(
                "source",
                f"{path.name} is a Git LFS pointer, not the file itself: run “git lfs pull” in its "
                "repository, or download the file.",
            )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(BEGINNING))
