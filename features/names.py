"""Names of what lies on the machine, as strangers may see them."""

from pathlib import PurePath


def of_source(source: str) -> str:
    """A hub id as it is; of a file or folder only its last part, for where it lies is the machine's own business."""
    return PurePath(source).name if source.startswith(("/", "~", ".")) else source
