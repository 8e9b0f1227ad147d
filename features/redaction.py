"""Names of files and hosts as visitors may see them."""

import re
from pathlib import PurePath

FOLDERS = re.compile(r"(?<![\w/.:~])(?:file://|~)?/(?:[^\s/:;,'\"“”]+/)+(?=[^\s/])")
"""The folders before the last part of an absolute path; never a part of an address or of
owner/name.
"""


def of_source(source: str) -> str:
    """A hub id unchanged; only the last part of a path."""
    return PurePath(source).name if source.startswith(("/", "~", ".")) else source


def without_folders(text: str) -> str:
    """A message with every path reduced to its last part."""
    return FOLDERS.sub("", text)
